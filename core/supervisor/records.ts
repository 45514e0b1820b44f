/**
 * Bytes of a record and back: `u8 kind · u8 0 · u16 number of fields · u32 length`, then fields
 * `u8 tag · u8 0 · u16 0 · u32 length · bytes`. Knows no kinds (messages.ts does) and reads nothing. Whatever does
 * not fit exactly is refused; limits are checked before anything is allocated.
 */
import { PassengerError } from '../base/errors.js';

export const CONTROL_LIMIT = 1024 * 1024;
export const CHANNEL_LIMIT = 64 * 1024;
const HEADER = 8;
const MAX_FIELDS = 0xffff;

export interface RawField {
  readonly tag: number;
  readonly bytes: Buffer;
}

export interface RawRecord {
  readonly kind: number;
  readonly fields: readonly RawField[];
}

function header(target: Buffer, at: number, first: number, count: number, length: number): void {
  target.writeUInt8(first, at);
  target.writeUInt8(0, at + 1);
  target.writeUInt16BE(count, at + 2);
  target.writeUInt32BE(length, at + 4);
}

export function encodeRecord(record: RawRecord, limit: number): Buffer {
  let length = 0;
  for (const field of record.fields) length += HEADER + field.bytes.length;
  if (HEADER + length > limit || record.fields.length > MAX_FIELDS) {
    throw new PassengerError('PSG7001', { kind: record.kind, bytes: HEADER + length, limit });
  }
  const bytes = Buffer.alloc(HEADER + length);
  header(bytes, 0, record.kind, record.fields.length, length);
  let at = HEADER;
  for (const field of record.fields) {
    header(bytes, at, field.tag, 0, field.bytes.length);
    field.bytes.copy(bytes, at + HEADER);
    at += HEADER + field.bytes.length;
  }
  return bytes;
}

/** Why bytes are no record. The sender is one of our own programs, so the receiver closes the connection. */
export function malformed(why: string): PassengerError {
  return new PassengerError('PSG7002', { why });
}

/** Length of the record that starts here, or undefined while its header is incomplete. */
function recordLength(bytes: Buffer, limit: number): number | undefined {
  if (bytes.length < HEADER) return undefined;
  const length = HEADER + bytes.readUInt32BE(4);
  if (length > limit) throw malformed('record too long');
  if (bytes.readUInt8(1) !== 0) throw malformed('reserved byte set');
  return length;
}

/** @throws PassengerError PSG7002 */
export function decodeRecord(bytes: Buffer, limit: number): RawRecord {
  if (recordLength(bytes, limit) !== bytes.length) throw malformed('length does not match');
  const count = bytes.readUInt16BE(2);
  if (count * HEADER > bytes.length) throw malformed('too many fields');
  const fields: RawField[] = [];
  let at = HEADER;
  while (at < bytes.length) {
    if (at + HEADER > bytes.length) throw malformed('field header cut off');
    if ((bytes.readUInt32BE(at) & 0x00ffffff) !== 0) throw malformed('reserved byte set');
    const end = at + HEADER + bytes.readUInt32BE(at + 4);
    if (end > bytes.length) throw malformed('field longer than its record');
    fields.push({ tag: bytes.readUInt8(at), bytes: bytes.subarray(at + HEADER, end) });
    at = end;
  }
  if (fields.length !== count) throw malformed('number of fields does not match');
  return { kind: bytes.readUInt8(0), fields };
}

/** Puts a stream's pieces together. Descriptors belong to the record in whose bytes they arrived. */
export class RecordAssembler {
  #pieces: Buffer = Buffer.alloc(0);
  #fds: number[] = [];

  constructor(private readonly limit: number) {}

  /** @throws PassengerError PSG7002: the stream is unusable from then on */
  push(piece: Buffer, fds: readonly number[]): { record: RawRecord; fds: number[] }[] {
    this.#pieces = this.#pieces.length === 0 ? piece : Buffer.concat([this.#pieces, piece]);
    this.#fds.push(...fds);
    const complete: { record: RawRecord; fds: number[] }[] = [];
    for (;;) {
      const length = recordLength(this.#pieces, this.limit);
      if (length === undefined || length > this.#pieces.length) return complete;
      complete.push({
        record: decodeRecord(this.#pieces.subarray(0, length), this.limit),
        fds: this.#fds,
      });
      this.#fds = [];
      this.#pieces = this.#pieces.subarray(length);
    }
  }

  /** Descriptors of a record that never became complete, for closing. */
  abandon(): number[] {
    const left = this.#fds;
    this.#fds = [];
    return left;
  }
}
