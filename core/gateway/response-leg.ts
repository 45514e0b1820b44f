/**
 * The answer on its way to the shim: reads it with the connection's parser and writes frames. All that came in one
 * read goes out in one write: a small answer as one buffer of HEAD, DATA and END, a large piece of a body in the
 * very buffer it was read into, with its frame header in the room before it.
 */
import { END_FRAME, writeFrameHeader } from '../wire/encoder.js';
import { FRAME, FRAME_HEADER, REQUEST_FLAG } from '../wire/frames.js';
import { encodeHead, writeHeadFrame } from '../wire/head-frame.js';
import { responseHead, type HeadRules } from './headers.js';
import { ResponseError } from './response-error.js';
import { ResponseBuffer, type ResponseBufferOwner } from './response-buffer.js';
import type { RawHead, ResponseHead } from './response-head.js';
import type { ShimLink } from './shim-link.js';
import type { UpstreamConnection } from './upstream.js';

/** The exchange, as far as its answer is concerned. */
export interface ResponseLegOwner {
  readonly stickyCookie: string | undefined;
  responseBegins(): void;
  /** The app has done its part; with `kept` a part of the answer still waits for the client. */
  responseComplete(inStep: boolean, keepAliveSeconds: number, kept: boolean): void;
  /** The client has got what was kept, too. */
  responseDelivered(): void;
  /** The app may go on. */
  responseRoom(): void;
  responseUnkept(error: NodeJS.ErrnoException): void;
  responseLost(error: NodeJS.ErrnoException): void;
  tunnelBegins(room: Buffer, start: number, end: number): void;
}

/** What is the same for all answers; a reload changes it. */
export interface ResponseTerms {
  /** Value of X-Powered-By, for apps that set none. */
  readonly poweredBy: string;
  /** Where what a slow client does not take goes, and how much of it; 0 = nothing is kept. */
  readonly dataBufferDir: string;
  readonly responseBufferLimit: number;
}

const MAX_INTERIM = 10;
/**
 * A reader that takes less than this from one sweep to the next is slow (32 MB/s). All others keep up with the app as it
 * is, without a detour through a file.
 */
const SLOW_BYTES = 8_388_608;

export class ResponseLeg implements HeadRules, ResponseBufferOwner {
  headSent = false;
  /** Only for an answer whose reader is slow. */
  #buffer: ResponseBuffer | undefined;
  /** The disk did not take it: not again for this answer. */
  #unkept = false;
  /** The app has done its part, and the buffer has the rest. */
  #received = false;
  /** What the shim had taken at the sweep before; -1 when the app was not held back then. */
  #takenBefore = -1;
  #interim = 0;
  #head: ResponseHead | undefined;

  /** @param flags of the REQUEST frame */
  constructor(
    private readonly owner: ResponseLegOwner,
    private readonly link: ShimLink,
    private readonly terms: ResponseTerms,
    private readonly flags: number,
  ) {}

  get headMethod(): boolean {
    return (this.flags & REQUEST_FLAG.HEAD_METHOD) !== 0;
  }

  get upgradeAsked(): boolean {
    return (this.flags & REQUEST_FLAG.UPGRADE) !== 0;
  }

  get poweredBy(): string {
    return this.terms.poweredBy;
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
    if (this.#buffer !== undefined) {
      this.#received = true;
      this.owner.responseComplete(false, 0, true);
      this.#pump();
      return;
    }
    this.owner.responseComplete(false, 0, false);
    this.link.write(END_FRAME);
    this.link.coreEnded();
  }

  /** The shim has taken everything that was written to it. */
  drained(): void {
    if (this.#buffer === undefined) this.owner.responseRoom();
    else this.#pump();
  }

  /** From the sweep: is the app held back for the sake of a slow reader, or only until somebody has taken breath? */
  lookAtReader(upstream: UpstreamConnection): void {
    if (this.#buffer !== undefined || !upstream.paused || this.#unkept) {
      this.#takenBefore = -1;
      return;
    }
    const { taken } = this.link;
    const slow = this.#takenBefore >= 0 && taken - this.#takenBefore < SLOW_BYTES;
    this.#takenBefore = taken;
    const { responseBufferLimit, dataBufferDir } = this.terms;
    if (!slow || responseBufferLimit === 0) return;
    this.#buffer = new ResponseBuffer(dataBufferDir, responseBufferLimit, this);
    upstream.resume();
  }

  /** The exchange is aborted: what the client has not got is dropped. */
  dispose(): void {
    this.#buffer?.dispose();
    this.#buffer = undefined;
  }

  // ---- from the buffer

  bufferReady(): void {
    this.#pump();
  }

  bufferRoom(): void {
    if (this.#buffer !== undefined) this.owner.responseRoom();
  }

  bufferUnwritable(error: NodeJS.ErrnoException): void {
    this.#unkept = true;
    this.owner.responseUnkept(error);
  }

  bufferUnreadable(error: NodeJS.ErrnoException): void {
    this.owner.responseLost(error);
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
    const { complete, bodyStart, bodyEnd } = upstream.parser;
    const count = bodyEnd - bodyStart;
    if (text === '' && count === 0 && !complete) return;
    if (!this.headSent) {
      this.headSent = true;
      this.owner.responseBegins();
    }
    if (this.#buffer !== undefined) {
      this.#keep(this.#buffer, upstream, room, end);
      return;
    }
    const gift = upstream.mayGive(count) ? upstream.give() : undefined;
    const from = this.#headBefore(room, count === 0 ? bodyStart : bodyStart - FRAME_HEADER, text);
    const to = wrap(room, bodyStart, bodyEnd, complete);
    // Nothing that follows before the bytes are written reads another answer, and so the room does not change.
    if (complete) this.#complete(upstream, end, false);
    if (gift === undefined) this.link.writeLent(room, from, to);
    else this.link.write(room.subarray(from, to), gift);
    if (complete) this.link.coreEnded();
    else if (this.link.backlogged) upstream.pause();
  }

  /** Writes the HEAD frame where the app's head was, so that no byte of the body is moved; returns where it begins. */
  #headBefore(room: Buffer, at: number, text: string): number {
    if (text === '') return at;
    const noBody = this.#head?.framing === 'none';
    const from = at - FRAME_HEADER - text.length;
    if (from >= 0) {
      writeHeadFrame(room, from, FRAME.HEAD, noBody, text);
      return from;
    }
    // A long head that came in several reads.
    const frame = Buffer.allocUnsafe(FRAME_HEADER + text.length);
    writeHeadFrame(frame, 0, FRAME.HEAD, noBody, text);
    this.link.write(frame);
    return at;
  }

  #complete(upstream: UpstreamConnection, end: number, kept: boolean): void {
    const head = this.#head;
    // Bytes behind the end of an answer can only be an attempt to answer the next request.
    const inStep = head?.keepAlive === true && upstream.parser.next === end;
    this.owner.responseComplete(inStep, head?.keepAliveSeconds ?? 0, kept);
  }

  /** What one read brought, for a reader that is slow. */
  #keep(buffer: ResponseBuffer, upstream: UpstreamConnection, room: Buffer, end: number): void {
    const { complete, bodyStart, bodyEnd } = upstream.parser;
    if (bodyEnd > bodyStart) {
      upstream.mayGive(bodyEnd - bodyStart);
      buffer.append(Buffer.from(room.subarray(bodyStart, bodyEnd)));
    }
    if (complete) {
      this.#received = true;
      this.#complete(upstream, end, true);
    } else if (buffer.full) upstream.pause();
    this.#pump();
  }

  /** Moves on what was kept, as far as the shim takes it. */
  #pump(): void {
    const buffer = this.#buffer;
    if (buffer === undefined) return;
    while (!this.link.backlogged) {
      const frame = buffer.take();
      if (frame === undefined) break;
      this.link.write(frame);
    }
    if (!buffer.empty) return;
    this.dispose();
    if (!this.#received) {
      this.owner.responseRoom();
      return;
    }
    this.owner.responseDelivered();
    this.link.write(END_FRAME);
    this.link.coreEnded();
  }
}

/** Frames a piece in place: there is room for a frame header before and behind everything that is read. Returns the end. */
function wrap(room: Buffer, start: number, end: number, complete: boolean): number {
  if (end > start) writeFrameHeader(room, start - FRAME_HEADER, FRAME.DATA, 0, end - start);
  return complete ? writeEnd(room, end) : end;
}

function writeEnd(to: Buffer, at: number): number {
  writeFrameHeader(to, at, FRAME.END, 0, 0);
  return at + FRAME_HEADER;
}
