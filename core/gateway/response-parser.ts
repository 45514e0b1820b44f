/**
 * Reads the responses of one app connection. Heads are scanned by the guard and then parsed by http-parser-js, which
 * is shown exactly the bytes of one head and never a body. Bodies are only measured: by length, by chunks, or until
 * the connection ends. Results are left in fields, so that a response costs no objects but its head.
 */
import { HTTPParser } from 'http-parser-js';
import { ChunkedDecoder } from './chunked-decoder.js';
import { HeadScanner } from './head-scanner.js';
import { ResponseError } from './response-error.js';
import type { Framing, RawHead } from './response-head.js';

// The library's default, ascii, drops the eighth bit while decoding: 0x8d 0x8a in a value would turn into CR LF
// behind the guard's back.
HTTPParser.encoding = 'latin1';

const SKIP_REST = 2;
let captured: RawHead | undefined;
/** One parser for all connections: a head is parsed in one call, without interruption. */
const library = new HTTPParser(HTTPParser.RESPONSE);
library[HTTPParser.kOnHeadersComplete] = (info: RawHead): number => {
  captured = info;
  return SKIP_REST;
};

function parseHead(bytes: Buffer, start: number, end: number): RawHead {
  captured = undefined;
  library.initialize(HTTPParser.RESPONSE);
  const result = library.execute(bytes, start, end - start);
  const head = captured as RawHead | undefined;
  if (typeof result !== 'number' || result !== end - start || head === undefined) {
    throw new ResponseError('head cannot be parsed');
  }
  return head;
}

/**
 * Heads that came lately. Under load an app sends the same bytes again and again (its Date changes once a second), and
 * what they mean is a pure function of them. The slot is chosen by the length of the whole read, which is the same when
 * the same small answer comes again; a hit is a comparison of all bytes, so that a wrong slot costs time and nothing else.
 */
class RecentHead {
  readonly bytes = Buffer.allocUnsafeSlow(RECENT_BYTES);
  length = 0;
  head: RawHead | undefined;
}
const RECENT_SLOTS = 64;
const RECENT_BYTES = 1_024;
const recent: (RecentHead | undefined)[] = new Array<RecentHead | undefined>(RECENT_SLOTS).fill(undefined);

function recall(bytes: Buffer, start: number, end: number): RecentHead | undefined {
  const slot = recent[(end - start) % RECENT_SLOTS];
  if (slot === undefined || slot.length === 0 || slot.length > end - start) return undefined;
  return bytes.compare(slot.bytes, 0, slot.length, start, start + slot.length) === 0 ? slot : undefined;
}

function remember(head: RawHead, bytes: Buffer, start: number, headEnd: number, end: number): void {
  if (headEnd - start > RECENT_BYTES) return;
  const slot = (recent[(end - start) % RECENT_SLOTS] ??= new RecentHead());
  slot.length = bytes.copy(slot.bytes, 0, start, headEnd);
  slot.head = head;
}

export class ResponseParser {
  /** The head that `readHead` completed. */
  head: RawHead | undefined;
  /** After `readBody`: the data in the buffer, whether the body is complete, and where the input goes on. */
  bodyStart = 0;
  bodyEnd = 0;
  complete = false;
  next = 0;

  readonly #scanner = new HeadScanner();
  readonly #chunks = new ChunkedDecoder();
  /** The beginning of a head that came in pieces. */
  #pieces: Buffer[] = [];
  #framing: Framing = 'none';
  #left = 0;

  /** Ready for the next head on the connection. */
  reset(): void {
    this.head = undefined;
    this.complete = false;
    this.#scanner.reset();
    if (this.#pieces.length > 0) this.#pieces = [];
  }

  /** Whether any byte of the current head has been seen. */
  get begun(): boolean {
    return this.#scanner.begun;
  }

  /**
   * Takes bytes of a head. Returns the position behind it with `head` set, or `end` when more is needed.
   * @throws ResponseError
   */
  readHead(bytes: Buffer, start: number, end: number): number {
    const known = this.#scanner.begun ? undefined : recall(bytes, start, end);
    if (known !== undefined) {
      this.head = known.head;
      return start + known.length;
    }
    const headEnd = this.#scanner.scan(bytes, start, end);
    if (headEnd < 0) {
      this.#pieces.push(Buffer.from(bytes.subarray(start, end)));
      return end;
    }
    if (this.#pieces.length === 0) {
      this.head = parseHead(bytes, start, headEnd);
      remember(this.head, bytes, start, headEnd, end);
      return headEnd;
    }
    this.#pieces.push(bytes.subarray(start, headEnd));
    const whole = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.head = parseHead(whole, 0, whole.length);
    return headEnd;
  }

  /** @param length of the body, for framing `length` */
  startBody(framing: Framing, length: number): void {
    this.#framing = framing;
    this.#left = framing === 'length' ? length : 0;
    this.complete = framing === 'none' || (framing === 'length' && length === 0);
    if (framing === 'chunked') this.#chunks.reset();
  }

  /** @throws ResponseError */
  readBody(bytes: Buffer, start: number, end: number): void {
    this.bodyStart = start;
    if (this.#framing === 'chunked') {
      this.#chunks.decode(bytes, start, end);
      this.bodyStart = this.#chunks.start;
      this.bodyEnd = this.#chunks.end;
      this.complete = this.#chunks.complete;
      this.next = this.#chunks.next;
      return;
    }
    const take = this.#framing === 'close' ? end - start : Math.min(this.#left, end - start);
    this.bodyEnd = start + take;
    this.next = this.bodyEnd;
    this.#left -= take;
    this.complete = this.#framing !== 'close' && this.#left === 0;
  }
}
