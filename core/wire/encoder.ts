/**
 * Makes frames. The core's small frames are made once; requests and HELLO are made by tests, benchmarks and the
 * generator of the shared vectors (in production they come from the shim). HEAD stands in head-frame.ts.
 */
import { FRAME, FRAME_HEADER, HELLO_LENGTH, HELLO_MAGIC, PROTOCOL_VERSION, REQUEST_FIXED } from './frames.js';
import { settingsHash } from './request-frame.js';

/** Writes a frame header at `at`; the payload follows it. */
export function writeFrameHeader(to: Buffer, at: number, type: number, flags: number, length: number): void {
  to[at] = type;
  to[at + 1] = flags;
  to[at + 2] = 0;
  to[at + 3] = 0;
  to[at + 4] = length >>> 24;
  to[at + 5] = length >>> 16;
  to[at + 6] = length >>> 8;
  to[at + 7] = length;
}

export function encodeFrame(type: number, flags = 0, payload: Buffer = Buffer.alloc(0)): Buffer {
  const frame = Buffer.alloc(FRAME_HEADER + payload.length);
  writeFrameHeader(frame, 0, type, flags, payload.length);
  payload.copy(frame, FRAME_HEADER);
  return frame;
}

export const ACCEPTED_FRAME: Buffer = encodeFrame(FRAME.ACCEPTED);
export const END_FRAME: Buffer = encodeFrame(FRAME.END);

/** ABORT or REJECT: a status and a code such as `PSG4003`. */
export function encodeRefusal(
  type: typeof FRAME.ABORT | typeof FRAME.REJECT,
  status: number,
  code: string,
): Buffer {
  const payload = Buffer.alloc(4 + code.length);
  payload.writeUInt16BE(status, 0);
  payload.writeUInt16BE(code.length, 2);
  payload.write(code, 4, 'latin1');
  return encodeFrame(type, 0, payload);
}

export interface Hello {
  readonly version?: number;
  readonly generation: number;
  /** 16 hex digits. */
  readonly tableHash: string;
  readonly secret: Buffer;
}

export function encodeHello(hello: Hello): Buffer {
  const payload = Buffer.alloc(HELLO_LENGTH);
  payload.write(HELLO_MAGIC, 0, 'latin1');
  payload.writeUInt16BE(hello.version ?? PROTOCOL_VERSION, 8);
  payload.writeUInt32BE(hello.generation, 12);
  payload.write(hello.tableHash, 16, 8, 'hex');
  hello.secret.copy(payload, 24, 0, 32);
  return encodeFrame(FRAME.HELLO, 0, payload);
}

export interface RequestParts {
  readonly flags: number;
  readonly exchangeId: bigint;
  readonly contentLength?: number;
  readonly silenceMs?: number;
  /** Always given for its hash; left out of the frame when `cached`. */
  readonly settings: Buffer;
  readonly cached?: boolean;
  readonly headerBlock: Buffer;
}

export function encodeRequest(parts: RequestParts): Buffer {
  const settings = parts.cached === true ? Buffer.alloc(0) : parts.settings;
  const payload = Buffer.alloc(REQUEST_FIXED + settings.length + parts.headerBlock.length);
  payload.writeBigUInt64BE(parts.exchangeId, 0);
  payload.writeBigUInt64BE(settingsHash(parts.settings), 8);
  payload.writeBigUInt64BE(BigInt(parts.contentLength ?? 0), 16);
  payload.writeUInt32BE(parts.silenceMs ?? 0, 24);
  payload.writeUInt32BE(settings.length, 28);
  payload.writeUInt32BE(parts.headerBlock.length, 32);
  settings.copy(payload, REQUEST_FIXED);
  parts.headerBlock.copy(payload, REQUEST_FIXED + settings.length);
  return encodeFrame(FRAME.REQUEST, parts.flags, payload);
}
