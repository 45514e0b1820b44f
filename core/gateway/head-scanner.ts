/**
 * The guard before the HTTP parser: walks over the bytes of a response head, in whatever pieces they arrive, and
 * refuses what a lenient parser would accept: control characters, bare CR or LF, folded lines, names that are no
 * tokens, other versions, oversized heads. It keeps no bytes and copies nothing.
 */
import { ResponseError } from './response-error.js';

export const MAX_HEAD_BYTES = 65_536;
export const MAX_HEAD_FIELDS = 1_000;

const CR = 0x0d;
const LF = 0x0a;
const SP = 0x20;
const COLON = 0x3a;

/** 1: may stand in a field name (RFC 9110, token). */
export const TOKEN = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  TOKEN[char.charCodeAt(0)] = 1;
}
/** 1: may stand in a value or a reason: TAB, visible ASCII, space, and bytes beyond ASCII. */
const TEXT = new Uint8Array(256).fill(1, 0x20);
TEXT[0x09] = 1;
TEXT[0x7f] = 0;

const VERSION = 'HTTP/1.';
const LINE = 0;
const REASON = 1;
const LINE_LF = 2;
const FIELD_START = 3;
const NAME = 4;
const VALUE = 5;
const END_LF = 6;

export class HeadScanner {
  #state = LINE;
  /** Bytes of the head seen so far. */
  #bytes = 0;
  #fields = 0;

  reset(): void {
    this.#state = LINE;
    this.#bytes = 0;
    this.#fields = 0;
  }

  /** Whether anything of a head has been seen. */
  get begun(): boolean {
    return this.#bytes > 0;
  }

  /**
   * Looks at the bytes from `start` to `end`. Returns the position behind the empty line that ends the head, or -1
   * when more is needed.
   * @throws ResponseError
   */
  scan(bytes: Buffer, start: number, end: number): number {
    const limit = Math.min(end, start + MAX_HEAD_BYTES - this.#bytes);
    let state = this.#state;
    let at = start;
    while (at < limit) {
      const byte = bytes[at] ?? 0;
      if (state === VALUE || state === REASON) {
        if (TEXT[byte] === 1) {
          at += 1;
          continue;
        }
        if (byte !== CR) throw new ResponseError('control character or bare line feed in the head');
        state = LINE_LF;
      } else if (state === NAME) {
        if (byte === COLON) state = VALUE;
        else if (TOKEN[byte] !== 1) throw new ResponseError('field name is not a token');
      } else if (state === LINE_LF) {
        if (byte !== LF) throw new ResponseError('bare carriage return in the head');
        state = FIELD_START;
      } else if (state === FIELD_START) {
        state = this.#fieldStart(byte);
      } else if (state === LINE) {
        state = statusLineByte(byte, this.#bytes + at - start);
      } else {
        if (byte !== LF) throw new ResponseError('bare carriage return in the head');
        return at + 1;
      }
      at += 1;
    }
    this.#bytes += at - start;
    this.#state = state;
    if (limit < end || this.#bytes >= MAX_HEAD_BYTES) throw new ResponseError('head is larger than 64 KB');
    return -1;
  }

  #fieldStart(byte: number): number {
    if (byte === CR) return END_LF;
    if (byte === SP || byte === 0x09) throw new ResponseError('folded header line');
    if (TOKEN[byte] !== 1) throw new ResponseError('field name is not a token');
    this.#fields += 1;
    if (this.#fields > MAX_HEAD_FIELDS) throw new ResponseError('more than 1000 header fields');
    return NAME;
  }
}

/** Checks byte `index` of `HTTP/1.x NNN`, and returns the state after it. */
function statusLineByte(byte: number, index: number): number {
  let legal: boolean;
  if (index < 7) legal = byte === VERSION.charCodeAt(index);
  else if (index === 7) legal = byte === 0x30 || byte === 0x31;
  else if (index === 8) legal = byte === SP;
  else if (index < 12) legal = byte >= (index === 9 ? 0x31 : 0x30) && byte <= 0x39;
  else legal = byte === SP || byte === CR;
  if (!legal) throw new ResponseError('not an HTTP/1.x response with a status of 100 to 999');
  if (index < 12) return LINE;
  return byte === CR ? LINE_LF : REASON;
}
