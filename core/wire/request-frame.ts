/**
 * Reads the payload of REQUEST and HELLO. It checks lengths, the combination of flags and the shape of the header
 * block; what the settings block and the header block say is for config and the app.
 */
import { checkHeaderBlock } from './header-block.js';
import { HELLO_MAGIC, REQUEST_FIXED, REQUEST_FLAG, WireError } from './frames.js';

/** A request as the shim announced it. Its bytes have the life of the frame's payload. */
export interface RequestFrame {
  readonly flags: number;
  readonly idHigh: number;
  readonly idLow: number;
  readonly hashHigh: number;
  readonly hashLow: number;
  /** 0 unless LENGTH_KNOWN. */
  readonly contentLength: number;
  readonly silenceMs: number;
  /** Absent when SETTINGS_CACHED. */
  readonly settings: Buffer | undefined;
  readonly payload: Buffer;
  /** Where the header block begins, which lasts until the payload ends. */
  readonly blockStart: number;
}

export interface HelloFrame {
  readonly version: number;
  readonly generation: number;
  readonly tableHash: string;
  readonly secret: Buffer;
}

/** Lengths beyond this cannot be counted exactly in a number. */
const MAX_HIGH_OF_LENGTH = 0x1fffff;

export function decodeRequest(flags: number, payload: Buffer): RequestFrame {
  const lengthHigh = u32(payload, 16);
  const contentLength = lengthHigh * 0x100000000 + u32(payload, 20);
  const settingsLength = u32(payload, 28);
  const blockLength = u32(payload, 32);
  if (REQUEST_FIXED + settingsLength + blockLength !== payload.length) {
    throw new WireError('lengths in REQUEST do not add up');
  }
  const cached = (flags & REQUEST_FLAG.SETTINGS_CACHED) !== 0;
  if (cached !== (settingsLength === 0)) throw new WireError('settings block and SETTINGS_CACHED disagree');
  const known = (flags & REQUEST_FLAG.LENGTH_KNOWN) !== 0;
  if (lengthHigh > MAX_HIGH_OF_LENGTH || (!known && contentLength !== 0)) {
    throw new WireError('content length in REQUEST is not usable');
  }
  if ((flags & REQUEST_FLAG.NO_BODY) !== 0 && contentLength !== 0) {
    throw new WireError('NO_BODY with a content length');
  }
  const blockStart = REQUEST_FIXED + settingsLength;
  checkHeaderBlock(payload, blockStart, (flags & REQUEST_FLAG.UPGRADE) !== 0);
  return {
    flags,
    idHigh: u32(payload, 0),
    idLow: u32(payload, 4),
    hashHigh: u32(payload, 8),
    hashLow: u32(payload, 12),
    contentLength,
    silenceMs: u32(payload, 24),
    settings: cached ? undefined : payload.subarray(REQUEST_FIXED, blockStart),
    payload,
    blockStart,
  };
}

/** The decoder has checked that the fixed part is there; Buffer's own method checks it once more each time. */
function u32(bytes: Buffer, at: number): number {
  return (
    (bytes[at] ?? 0) * 0x1000000 +
    (((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0))
  );
}

export function decodeHello(payload: Buffer): HelloFrame {
  if (payload.toString('latin1', 0, 8) !== HELLO_MAGIC) throw new WireError('HELLO without its magic');
  if (payload.readUInt16BE(10) !== 0) throw new WireError('reserved bytes set in HELLO');
  return {
    version: payload.readUInt16BE(8),
    generation: payload.readUInt32BE(12),
    tableHash: payload.toString('hex', 16, 24),
    secret: payload.subarray(24, 56),
  };
}

/** Exchange ids as logs print them. */
export function exchangeIdText(high: number, low: number): string {
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}

const FNV_OFFSET_HIGH = 0xcbf29ce4;
const FNV_OFFSET_LOW = 0x84222325;
const FNV_PRIME_LOW = 0x1b3;

/** The two halves of FNV-1a 64, in numbers: the prime is 2^40 + 0x1b3. */
export function settingsHashHalves(block: Buffer): readonly [high: number, low: number] {
  let high = FNV_OFFSET_HIGH;
  let low = FNV_OFFSET_LOW;
  for (const value of block) {
    low = (low ^ value) >>> 0;
    const product = low * FNV_PRIME_LOW;
    const carry = Math.floor(product / 0x100000000);
    high = (Math.imul(high, FNV_PRIME_LOW) + carry + (low << 8)) >>> 0;
    low = product >>> 0;
  }
  return [high, low];
}

/** FNV-1a 64 of a settings block. */
export function settingsHash(block: Buffer): bigint {
  const [high, low] = settingsHashHalves(block);
  return (BigInt(high) << 32n) | BigInt(low);
}
