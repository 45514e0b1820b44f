/**
 * Takes the chunk framing off a body, in place: the data of all chunks in a piece of input is moved together (a
 * piece with one chunk is not moved at all). Strict about the framing, bounded in what is not data, and blind for
 * the data itself. Our own because the HTTP library loops for ever on a chunk size of `-5`.
 */
import { TOKEN } from './head-scanner.js';
import { ResponseError } from './response-error.js';

/** Bytes of chunk extensions and of trailers that one response may have. */
const MAX_OVERHEAD = 16_384;
const MAX_SIZE_DIGITS = 15;
const MAX_CHUNK = Number.MAX_SAFE_INTEGER;

const CR = 0x0d;
const LF = 0x0a;
const SEMICOLON = 0x3b;
const COLON = 0x3a;

const SIZE = 0;
const EXTENSION = 1;
const SIZE_LF = 2;
const DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
const TRAILER_START = 6;
const TRAILER_NAME = 7;
const TRAILER = 8;
const TRAILER_LF = 9;
const END_LF = 10;

export class ChunkedDecoder {
  /** After `decode`: where the data stands, whether the body is complete, and where the input goes on. */
  start = 0;
  end = 0;
  complete = false;
  next = 0;

  #state = SIZE;
  #digits = 0;
  #left = 0;
  #overhead = 0;

  reset(): void {
    this.complete = false;
    this.#state = SIZE;
    this.#digits = 0;
    this.#left = 0;
    this.#overhead = 0;
  }

  /** @throws ResponseError at the first byte that breaks the framing */
  decode(bytes: Buffer, from: number, to: number): void {
    let at = from;
    this.start = from;
    this.end = from;
    while (at < to && !this.complete) {
      if (this.#state === DATA) at = this.#data(bytes, at, to);
      else this.#framing(bytes[at++] ?? 0);
    }
    this.next = at;
  }

  #data(bytes: Buffer, at: number, to: number): number {
    const take = Math.min(this.#left, to - at);
    if (this.end === this.start) {
      this.start = at;
      this.end = at + take;
    } else {
      bytes.copyWithin(this.end, at, at + take);
      this.end += take;
    }
    this.#left -= take;
    if (this.#left === 0) this.#state = DATA_CR;
    return at + take;
  }

  #framing(byte: number): void {
    switch (this.#state) {
      case SIZE:
        return this.#size(byte);
      case EXTENSION:
        if (byte === CR) this.#state = SIZE_LF;
        else this.#extra(byte);
        return;
      case SIZE_LF:
        return this.#expect(byte, LF, this.#left === 0 ? TRAILER_START : DATA);
      case DATA_CR:
        return this.#expect(byte, CR, DATA_LF);
      case DATA_LF:
        this.#digits = 0;
        return this.#expect(byte, LF, SIZE);
      case TRAILER_START:
        if (byte === CR) this.#state = END_LF;
        else this.#name(byte, false);
        return;
      case TRAILER_NAME:
        return this.#name(byte, true);
      case TRAILER:
        if (byte === CR) this.#state = TRAILER_LF;
        else this.#extra(byte);
        return;
      case TRAILER_LF:
        return this.#expect(byte, LF, TRAILER_START);
      default:
        this.#expect(byte, LF, SIZE);
        this.complete = true;
    }
  }

  #size(byte: number): void {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      this.#digits += 1;
      this.#left = this.#left * 16 + digit;
      if (this.#digits > MAX_SIZE_DIGITS || this.#left > MAX_CHUNK)
        throw new ResponseError('chunk size too large');
      return;
    }
    if (this.#digits === 0 || (byte !== CR && byte !== SEMICOLON))
      throw new ResponseError('chunk size is not a number');
    this.#state = byte === CR ? SIZE_LF : EXTENSION;
  }

  /** A trailer that is no field is a sign that the framing means something else to the app. */
  #name(byte: number, begun: boolean): void {
    this.#extra(byte);
    if (begun && byte === COLON) this.#state = TRAILER;
    else if (TOKEN[byte] === 1) this.#state = TRAILER_NAME;
    else throw new ResponseError('trailer is not a field');
  }

  #expect(byte: number, wanted: number, then: number): void {
    if (byte !== wanted) throw new ResponseError('chunk framing is broken');
    this.#state = then;
  }

  /** A byte of an extension or a trailer: dropped, but counted and without control characters. */
  #extra(byte: number): void {
    this.#overhead += 1;
    if (this.#overhead > MAX_OVERHEAD) throw new ResponseError('chunk extensions or trailers too large');
    if ((byte < 0x20 && byte !== 0x09) || byte === 0x7f)
      throw new ResponseError('control character in chunk framing');
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
