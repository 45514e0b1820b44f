/**
 * The answer on its way to the shim: reads it with the connection's parser and writes frames. All that came in one
 * read goes out in one write: a small answer as one buffer of HEAD, DATA and END, a large piece of a body in the
 * very buffer it was read into, with its frame header in the room before it.
 */
import { END_FRAME, writeFrameHeader } from '../wire/encoder.js';
import { FRAME, FRAME_HEADER } from '../wire/frames.js';
import { encodeHead, writeHeadFrame } from '../wire/head-frame.js';
import { responseHead, type HeadRules, type ResponseHead } from './headers.js';
import { ResponseError } from './response-error.js';
import type { RawHead } from './response-parser.js';
import type { ShimLink } from './shim-link.js';
import type { UpstreamConnection } from './upstream.js';

/** The exchange, as far as its answer is concerned. */
export interface ResponseLegOwner {
  readonly gatewayPoweredBy: string;
  readonly headMethod: boolean;
  readonly upgradeAsked: boolean;
  readonly stickyCookie: string | undefined;
  responseBegins(): void;
  responseComplete(inStep: boolean, keepAliveSeconds: number): void;
  tunnelBegins(room: Buffer, start: number, end: number): void;
}

const MAX_INTERIM = 10;

export class ResponseLeg implements HeadRules {
  headSent = false;
  #interim = 0;
  #head: ResponseHead | undefined;

  constructor(
    private readonly link: ShimLink,
    private readonly owner: ResponseLegOwner,
  ) {}

  get headMethod(): boolean {
    return this.owner.headMethod;
  }

  get upgradeAsked(): boolean {
    return this.owner.upgradeAsked;
  }

  get poweredBy(): string {
    return this.owner.gatewayPoweredBy;
  }

  get stickyCookie(): string | undefined {
    return this.owner.stickyCookie;
  }

  /** Whether a complete head, also an interim one, has been seen. */
  get anythingSeen(): boolean {
    return this.headSent || this.#interim > 0;
  }

  get untilClose(): boolean {
    return this.#head?.framing === 'close';
  }

  /** @throws ResponseError */
  data(upstream: UpstreamConnection, room: Buffer, start: number, end: number): void {
    const { parser } = upstream;
    let at = start;
    let headBytes = '';
    if (this.#head === undefined) {
      for (;;) {
        at = parser.readHead(room, at, end);
        const raw = parser.head;
        if (raw === undefined) return;
        if (raw.statusCode >= 200) {
          this.#head = responseHead(raw, this);
          parser.startBody(this.#head.framing, this.#head.length);
          headBytes = this.#head.text;
          break;
        }
        if (this.#switches(raw, room, at, end)) return;
        parser.reset();
      }
    }
    parser.readBody(room, at, end);
    this.#forward(upstream, room, headBytes, end);
  }

  /** The app has ended a body that lasts until the connection ends. */
  endOfInput(): void {
    this.owner.responseComplete(false, 0);
    this.link.write(END_FRAME);
    this.link.coreEnded();
  }

  /** Relays an interim head; true when it was the beginning of a tunnel. */
  #switches(raw: RawHead, room: Buffer, at: number, end: number): boolean {
    const head = responseHead(raw, this);
    if (head.status === 101) {
      this.headSent = true;
      this.link.write(encodeHead(head));
      this.owner.tunnelBegins(room, at, end);
      return true;
    }
    this.#interim += 1;
    if (this.#interim > MAX_INTERIM) throw new ResponseError('more than 10 interim responses');
    this.link.write(encodeHead(head, { interim: true }));
    return false;
  }

  /** Writes what one read brought. The parser has the numbers; `text` is the head when it came with this read. */
  #forward(upstream: UpstreamConnection, room: Buffer, text: string, end: number): void {
    const { parser } = upstream;
    const { complete, bodyStart } = parser;
    const head = this.#head;
    const count = parser.bodyEnd - bodyStart;
    if (text === '' && count === 0 && !complete) return;
    if (!this.headSent) {
      this.headSent = true;
      this.owner.responseBegins();
    }
    const given = text === '' && upstream.mayGive(count);
    const bytes = given
      ? wrap(room, bodyStart, parser.bodyEnd, complete)
      : assemble(text, head?.framing === 'none', room, bodyStart, parser.bodyEnd, complete);
    if (given) upstream.give();
    // Bytes behind the end of an answer can only be an attempt to answer the next request.
    const inStep = head?.keepAlive === true && parser.next === end;
    if (complete) this.owner.responseComplete(inStep, head?.keepAliveSeconds ?? 0);
    this.link.write(bytes);
    if (complete) this.link.coreEnded();
    else if (this.link.backlogged) upstream.pause();
  }
}

/** The frames of a piece in a new buffer. */
function assemble(
  text: string,
  noBody: boolean,
  room: Buffer,
  start: number,
  end: number,
  complete: boolean,
): Buffer {
  const count = end - start;
  const headLength = text === '' ? 0 : FRAME_HEADER + text.length;
  const dataLength = count === 0 ? 0 : FRAME_HEADER + count;
  const bytes = Buffer.allocUnsafe(headLength + dataLength + (complete ? FRAME_HEADER : 0));
  let at = 0;
  if (headLength > 0) at = writeHeadFrame(bytes, 0, FRAME.HEAD, noBody, text);
  if (count > 0) {
    writeFrameHeader(bytes, at, FRAME.DATA, 0, count);
    room.copy(bytes, at + FRAME_HEADER, start, end);
    at += dataLength;
  }
  if (complete) writeFrameHeader(bytes, at, FRAME.END, 0, 0);
  return bytes;
}

/** The frames of a piece in place: there is room for a frame header before and behind everything that is read. */
function wrap(room: Buffer, start: number, end: number, complete: boolean): Buffer {
  writeFrameHeader(room, start - FRAME_HEADER, FRAME.DATA, 0, end - start);
  if (!complete) return room.subarray(start - FRAME_HEADER, end);
  writeFrameHeader(room, end, FRAME.END, 0, 0);
  return room.subarray(start - FRAME_HEADER, end + FRAME_HEADER);
}
