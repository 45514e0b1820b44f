/**
 * HEAD and INTERIM, both directions: the gateway makes them from checked fields, the tests and the Standalone front
 * read them. Fields are kept as one latin1 text while they are collected, because one native write of the whole is
 * several times cheaper than one for each name and value.
 */
import { FRAME, FRAME_HEADER, HEAD_FLAG_NO_BODY, WireError } from './frames.js';
import { writeFrameHeader } from './encoder.js';

const CACHED_LENGTHS = 512;
const LENGTH_TEXT: string[] = [];
for (let n = 0; n < CACHED_LENGTHS; n += 1) LENGTH_TEXT.push(String.fromCharCode(n >> 8, n & 255));

/** A big-endian u16 as two latin1 characters. */
function u16Text(value: number): string {
  return LENGTH_TEXT[value] ?? String.fromCharCode(value >> 8, value & 255);
}

/** One field as it stands in the payload. Both texts are latin1 and at most 65,535 long. */
export function fieldText(name: string, value: string): string {
  return u16Text(name.length) + u16Text(value.length) + name + value;
}

/** Everything of a HEAD but its bytes. `fields` is a concatenation of `fieldText`. */
export interface HeadParts {
  readonly status: number;
  readonly reason: string;
  readonly count: number;
  readonly fields: string;
}

/** The payload of HEAD or INTERIM as latin1 text. */
export function headText(head: HeadParts): string {
  return u16Text(head.status) + u16Text(head.reason.length) + head.reason + u16Text(head.count) + head.fields;
}

/** Writes a HEAD frame with payload `text` at `at`; returns the position behind it. */
export function writeHeadFrame(to: Buffer, at: number, type: number, noBody: boolean, text: string): number {
  writeFrameHeader(to, at, type, noBody ? HEAD_FLAG_NO_BODY : 0, text.length);
  to.write(text, at + FRAME_HEADER, text.length, 'latin1');
  return at + FRAME_HEADER + text.length;
}

export function encodeHead(head: HeadParts, options: { interim?: boolean; noBody?: boolean } = {}): Buffer {
  const text = headText(head);
  const frame = Buffer.alloc(FRAME_HEADER + text.length);
  const type = options.interim === true ? FRAME.INTERIM : FRAME.HEAD;
  writeHeadFrame(frame, 0, type, options.noBody === true, text);
  return frame;
}

export interface DecodedHead {
  readonly status: number;
  readonly reason: string;
  readonly fields: readonly (readonly [name: string, value: string])[];
}

/** @throws WireError when the payload is not exactly one head. */
export function decodeHead(payload: Buffer): DecodedHead {
  const end = payload.length;
  const need = (upTo: number): void => {
    if (upTo > end) throw new WireError('HEAD is cut');
  };
  need(4);
  const status = payload.readUInt16BE(0);
  let at = 4 + payload.readUInt16BE(2);
  need(at + 2);
  const reason = payload.toString('latin1', 4, at);
  const count = payload.readUInt16BE(at);
  at += 2;
  const fields: [string, string][] = [];
  for (let n = 0; n < count; n += 1) {
    need(at + 4);
    const nameEnd = at + 4 + payload.readUInt16BE(at);
    const valueEnd = nameEnd + payload.readUInt16BE(at + 2);
    need(valueEnd);
    fields.push([payload.toString('latin1', at + 4, nameEnd), payload.toString('latin1', nameEnd, valueEnd)]);
    at = valueEnd;
  }
  if (at !== end) throw new WireError('bytes behind the last field of HEAD');
  return { status, reason, fields };
}

/** ABORT and REJECT. */
export function decodeRefusal(payload: Buffer): { readonly status: number; readonly code: string } {
  if (payload.length !== 4 + payload.readUInt16BE(2)) throw new WireError('code in a refusal is cut');
  return { status: payload.readUInt16BE(0), code: payload.toString('latin1', 4) };
}
