/**
 * The request on its way to the app: the header block with its framing, and the body, either collected first (then
 * it can be sent again) or passed on as it arrives. It decides nothing about sessions or retries.
 */
import type { RequestFrame } from '../wire/request-frame.js';
import { REQUEST_FLAG, WireError } from '../wire/frames.js';
import { BodyBuffer, recyclePieces, type BodyBufferOwner, type Piece } from './body-buffer.js';
import type { BodyMemory } from './body-memory.js';
import { recycleRoom, takeRoom, WORTH_GIVING, type Room } from './rooms.js';
import type { ShimLink } from './shim-link.js';
import type { UpstreamConnection } from './upstream.js';

export interface RequestLegOwner {
  requestReady(): void;
  bodyFailed(error: NodeJS.ErrnoException): void;
}

const CRLF = '\r\n';
const CR = 0x0d;
const LF = 0x0a;
const LAST_CHUNK = Buffer.from('0\r\n\r\n');
const NOTHING: readonly Buffer[] = [];
/** Bytes of a stream that may wait for an app. */
const EARLY_BYTES = 131_072;
/** Up to here one copy is cheaper than several buffers in a write. */
const ONE_WRITE = 32_768;

/** Where buffered bodies wait. */
export interface BodyPlace {
  readonly dataBufferDir: string;
  readonly bodyMemory: BodyMemory;
}

export class RequestLeg implements BodyBufferOwner {
  /** The frame's payload, ours: its own bytes are gone after the call that made this. Behind it an empty line. */
  readonly #bytes: Buffer;
  readonly #blockStart: number;
  /** Whether the app can be asked for: no body, a streamed one, or a complete buffered one. */
  ready = true;
  /** Everything was handed to the connection. */
  sent = false;
  #framing = '';
  #buffer: BodyBuffer | undefined;
  readonly #streamed: boolean;
  readonly #chunked: boolean;
  readonly #expected: number;
  #received = 0;
  /** Streamed bytes that came before there was a connection. */
  #early: Buffer[] = [];
  #earlyBytes = 0;
  #ended = false;
  #streamStarted = false;

  constructor(
    private readonly owner: RequestLegOwner,
    private readonly link: ShimLink,
    frame: RequestFrame,
    bufferUpload: boolean,
    place: BodyPlace,
  ) {
    const { flags } = frame;
    const { payload } = frame;
    // The whole of it: a copy of a part would cost an object more.
    this.#bytes = Buffer.allocUnsafe(payload.length + CRLF.length);
    this.#bytes.set(payload);
    this.#bytes[payload.length] = CR;
    this.#bytes[payload.length + 1] = LF;
    this.#blockStart = frame.blockStart;
    const known = (flags & REQUEST_FLAG.LENGTH_KNOWN) !== 0;
    const upgrade = (flags & REQUEST_FLAG.UPGRADE) !== 0;
    const noBody = upgrade || (flags & REQUEST_FLAG.NO_BODY) !== 0;
    this.#expected = known ? frame.contentLength : -1;
    this.#streamed = !noBody && !bufferUpload;
    this.#chunked = this.#streamed && !known;
    this.#ended = noBody;
    if (upgrade) return;
    if (this.#chunked) this.#framing = 'Transfer-Encoding: chunked\r\n';
    else if (known) this.#framing = `Content-Length: ${frame.contentLength}\r\n`;
    if (noBody || this.#streamed) return;
    this.#buffer = new BodyBuffer(place.dataBufferDir, place.bodyMemory, this);
    this.ready = false;
  }

  get headerBlock(): Buffer {
    return this.#bytes.subarray(this.#blockStart, this.#bytes.length - CRLF.length);
  }

  /** Whether the request can be sent from its beginning once more. */
  get repeatable(): boolean {
    return !this.#streamed || !this.#streamStarted;
  }

  /** @param bytes valid during the call only */
  body(bytes: Buffer, to: UpstreamConnection | undefined): void {
    if (this.#ended) throw new WireError('BODY after the end of the body');
    this.#received += bytes.length;
    if (this.#expected >= 0 && this.#received > this.#expected)
      throw new WireError('body longer than announced');
    if (this.#buffer !== undefined) {
      this.#buffer.append(bytes);
      if (this.#buffer.full) this.link.pause();
    } else if (to !== undefined && this.#streamStarted) {
      this.#pass(bytes, to);
      if (to.backlogged) this.link.pause();
    } else {
      this.#early.push(Buffer.from(bytes));
      this.#earlyBytes += bytes.length;
      if (this.#earlyBytes > EARLY_BYTES) this.link.pause();
    }
  }

  bodyEnd(to: UpstreamConnection | undefined): void {
    if (this.#ended) return;
    if (this.#expected >= 0 && this.#received !== this.#expected)
      throw new WireError('body shorter than announced');
    this.#ended = true;
    if (this.#buffer === undefined) {
      if (to !== undefined && this.#streamStarted) this.#endStream(to);
    } else if (this.#buffer.finish()) this.bodyStored();
  }

  /** Writes the head, and of the body what is there, in one write where it is small. */
  send(to: UpstreamConnection): void {
    this.sent = false;
    if (this.#buffer !== undefined || this.#streamed) to.expectBody();
    const memory = this.#buffer === undefined ? NOTHING : this.#buffer.memory;
    this.#writeHead(to, memory ?? NOTHING);
    if (this.#streamed) {
      // A stream can be sent once only, so it starts when somebody has taken the connection.
      if (to.connected) this.#startStream(to);
    } else if (memory === undefined) this.#pump(to, 0);
    else {
      this.#reader = to;
      this.sent = true;
    }
  }

  /** The connection that may still read from the buffer's memory; one before it was broken off. */
  #reader: UpstreamConnection | undefined;

  #release(room: Room): void {
    if (this.#reader === undefined) recycleRoom(room);
    else this.#reader.hold(room);
  }

  /** Streams bytes on that are gone after the call. */
  #pass(bytes: Buffer, to: UpstreamConnection): void {
    if (!this.#chunked) to.writeLent(bytes);
    else if (bytes.length < WORTH_GIVING) to.write(chunk(bytes, undefined));
    else {
      const room = takeRoom();
      to.write(chunk(bytes, room));
      to.hold(room);
    }
  }

  #startStream(to: UpstreamConnection): void {
    this.#streamStarted = true;
    for (const bytes of this.#early) this.#pass(bytes, to);
    this.#early = [];
    this.#earlyBytes = 0;
    if (this.#ended) this.#endStream(to);
    else if (!to.backlogged) this.link.resume();
  }

  connected(to: UpstreamConnection): void {
    if (this.#streamed && !this.#streamStarted) this.#startStream(to);
  }

  drained(to: UpstreamConnection): void {
    if (this.#streamed) this.link.resume();
    else if (this.#parkedAt >= 0) this.#pump(to, this.#parkedAt);
  }

  bodyRoom(): void {
    this.link.resume();
  }

  bodyStored(): void {
    const length = this.#buffer?.length ?? 0;
    this.#framing = `Content-Length: ${length}\r\n`;
    this.ready = true;
    this.owner.requestReady();
  }

  bodyFailed(error: NodeJS.ErrnoException): void {
    this.owner.bodyFailed(error);
  }

  dispose(): void {
    this.#buffer?.dispose((room) => this.#release(room));
    this.#reader = undefined;
    this.#pumping = undefined;
    this.#early = [];
    this.#ended = true;
  }

  /** Header block, framing, empty line and the body's `parts` in one write, and as one buffer where they are small. */
  #writeHead(to: UpstreamConnection, parts: readonly Buffer[]): void {
    if (this.#framing === '' && parts.length === 0) {
      to.write(this.#bytes, this.#blockStart);
      return;
    }
    const block = this.headerBlock;
    const framing = this.#framing + CRLF;
    const head = block.length + framing.length;
    const length = parts.reduce((sum, part) => sum + part.length, head);
    const whole = length <= ONE_WRITE;
    const bytes = Buffer.allocUnsafe(whole ? length : head);
    block.copy(bytes, 0);
    let at = block.length;
    at += bytes.write(framing, at, 'latin1');
    if (whole) {
      for (const part of parts) at += part.copy(bytes, at);
      to.write(bytes);
    } else to.writeParts([bytes, ...parts]);
  }

  #endStream(to: UpstreamConnection): void {
    if (this.#chunked) to.write(LAST_CHUNK);
    this.sent = true;
  }

  /** The connection that the spilled body goes to. */
  #pumping: UpstreamConnection | undefined;
  /** Where to read on when the connection has room again; -1 = not parked. */
  #parkedAt = -1;

  /** Moves the spilled body on, one read at a time. */
  #pump(to: UpstreamConnection, position: number): void {
    this.#pumping = to;
    this.#parkedAt = -1;
    this.#buffer?.read(position, (error, pieces) => this.#pumped(to, position, error, pieces));
  }

  #pumped(
    to: UpstreamConnection,
    position: number,
    error: NodeJS.ErrnoException | null,
    pieces: readonly Piece[],
  ): void {
    // The exchange may have ended or gone to another connection meanwhile; or the app takes no more, and what it had
    // to say is still to be read.
    const wanted = this.#pumping === to && !to.refused;
    if (!wanted || error !== null) recyclePieces(pieces);
    if (this.#pumping !== to) return;
    if (error !== null) return this.owner.bodyFailed(error);
    if (pieces.length === 0) {
      this.sent = true;
      return;
    }
    if (!wanted) return;
    to.writeParts(pieces.map(({ bytes }) => bytes));
    let next = position;
    for (const { bytes, room } of pieces) {
      next += bytes.length;
      if (room !== undefined) to.hold(room);
    }
    if (to.loaded) this.#parkedAt = next;
    else this.#pump(to, next);
  }
}

/** @param room where the chunk is put together, if anywhere; all of a BODY frame and its framing fit */
function chunk(bytes: Buffer, room: Room | undefined): Buffer {
  const head = bytes.length.toString(16) + CRLF;
  const length = head.length + bytes.length + CRLF.length;
  const all = room === undefined ? Buffer.allocUnsafe(length) : room.bytes.subarray(0, length);
  all.write(head, 0, 'latin1');
  bytes.copy(all, head.length);
  all.write(CRLF, head.length + bytes.length, 'latin1');
  return all;
}
