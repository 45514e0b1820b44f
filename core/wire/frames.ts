/**
 * The numbers of PROTOCOL.md: frame types, flags and limits, and the error that a broken stream ends with.
 * No behaviour. Used by decoder, encoder and the gateway.
 */

export const PROTOCOL_VERSION = 1;
export const HELLO_MAGIC = 'PSGWIRE1';
export const FRAME_HEADER = 8;
export const HELLO_LENGTH = 56;
/** Fixed part of REQUEST before settings and header block. */
export const REQUEST_FIXED = 36;
/** Settings blocks that one connection may carry. */
export const MAX_SETTINGS_BLOCKS = 64;

export const FRAME = {
  HELLO: 0x01,
  REQUEST: 0x02,
  BODY: 0x03,
  BODY_END: 0x04,
  CANCEL: 0x05,
  ACCEPTED: 0x81,
  HEAD: 0x82,
  INTERIM: 0x83,
  DATA: 0x84,
  END: 0x85,
  ABORT: 0x86,
  REJECT: 0x87,
} as const;

export const REQUEST_FLAG = {
  NO_BODY: 0x01,
  SETTINGS_CACHED: 0x02,
  LENGTH_KNOWN: 0x04,
  TLS: 0x08,
  UPGRADE: 0x10,
  HEAD_METHOD: 0x20,
  REPLAYABLE: 0x40,
} as const;

export const HEAD_FLAG_NO_BODY = 0x01;
export const DATA_FLAG_FLUSH = 0x01;

export const CANCEL_REASON = { CLIENT_GONE: 1, BODY_BROKEN: 2, NOT_WANTED: 3, TIMEOUT: 4 } as const;

export const MAX_BODY_PAYLOAD = 65_536;
const MAX_REQUEST_PAYLOAD = 262_144;
const MAX_HEAD_PAYLOAD = 131_072;
const MAX_OTHER_PAYLOAD = 1_024;

/** Who may send a frame: the decoder of one side refuses the frames of its own side. */
export type Sender = 'shim' | 'core';

interface FrameRule {
  readonly name: string;
  readonly sender: Sender;
  readonly flags: number;
  readonly min: number;
  readonly max: number;
  /** Its payload is a part of a stream: where the frame is cut says nothing. */
  readonly stream: boolean;
}

function rule(name: string, sender: Sender, flags: number, min: number, max: number): FrameRule {
  return { name, sender, flags, min, max, stream: name === 'BODY' };
}

const RULES = new Array<FrameRule | undefined>(256).fill(undefined);
RULES[FRAME.HELLO] = rule('HELLO', 'shim', 0, HELLO_LENGTH, HELLO_LENGTH);
RULES[FRAME.REQUEST] = rule('REQUEST', 'shim', 0x7f, REQUEST_FIXED, MAX_REQUEST_PAYLOAD);
RULES[FRAME.BODY] = rule('BODY', 'shim', 0, 1, MAX_BODY_PAYLOAD);
RULES[FRAME.BODY_END] = rule('BODY_END', 'shim', 0, 0, 0);
RULES[FRAME.CANCEL] = rule('CANCEL', 'shim', 0, 1, 1);
RULES[FRAME.ACCEPTED] = rule('ACCEPTED', 'core', 0, 0, 0);
RULES[FRAME.HEAD] = rule('HEAD', 'core', HEAD_FLAG_NO_BODY, 6, MAX_HEAD_PAYLOAD);
RULES[FRAME.INTERIM] = rule('INTERIM', 'core', 0, 6, MAX_HEAD_PAYLOAD);
RULES[FRAME.DATA] = rule('DATA', 'core', DATA_FLAG_FLUSH, 1, MAX_BODY_PAYLOAD);
RULES[FRAME.END] = rule('END', 'core', 0, 0, 0);
RULES[FRAME.ABORT] = rule('ABORT', 'core', 0, 4, MAX_OTHER_PAYLOAD);
RULES[FRAME.REJECT] = rule('REJECT', 'core', 0, 4, MAX_OTHER_PAYLOAD);

/** What a frame type may carry; undefined for a type that does not exist. */
export function frameRule(type: number): FrameRule | undefined {
  return RULES[type];
}

/** The stream breaks the protocol. The connection is of no further use. */
export class WireError extends Error {
  override readonly name = 'WireError';
}
