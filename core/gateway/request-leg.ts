/**
 * The request on its way to the app: the header block with its framing, and the body, either collected first (then
 * it can be sent again) or passed on as it arrives. It decides nothing about sessions or retries.
 */
import type { RequestFrame } from '../wire/request-frame.js';
import { REQUEST_FLAG, WireError } from '../wire/frames.js';
import { BodyBuffer, MEMORY_LIMIT, type BodyBufferOwner } from './body-buffer.js';
import type { ShimLink } from './shim-link.js';
import type { UpstreamConnection } from './upstream.js';

export interface RequestLegOwner {
  requestReady(): void;
  bodyFailed(error: NodeJS.ErrnoException): void;
}

const CRLF = '\r\n';
const CR = 0x0d;
const LF = 0x0a;
const LAST_CHUNK = '0\r\n\r\n';
const NOTHING: readonly Buffer[] = [];

export class RequestLeg implements BodyBufferOwner {
  /** Header block and empty line, ours: the frame's view is gone after the call that made this. */
  readonly #head: Buffer;
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
    bufferDirectory: string,
  ) {
    const { flags } = frame;
    const { headerBlock } = frame;
    this.#head = Buffer.allocUnsafe(headerBlock.length + CRLF.length);
    headerBlock.copy(this.#head);
    this.#head[headerBlock.length] = CR;
    this.#head[headerBlock.length + 1] = LF;
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
    this.#buffer = new BodyBuffer(bufferDirectory, this);
    this.ready = false;
  }

  get headerBlock(): Buffer {
    return this.#head.subarray(0, this.#head.length - CRLF.length);
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
      this.#buffer.append(Buffer.from(bytes));
      if (this.#buffer.full) this.link.pause();
    } else if (to !== undefined && this.#streamStarted) {
      to.write(this.#chunked ? chunk(bytes) : Buffer.from(bytes));
      if (to.backlogged) this.link.pause();
    } else {
      this.#early.push(Buffer.from(bytes));
      this.#earlyBytes += bytes.length;
      if (this.#earlyBytes > MEMORY_LIMIT) this.link.pause();
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
    to.write(this.#headWith(memory ?? NOTHING));
    if (this.#streamed) {
      // A stream can be sent once only, so it starts when somebody has taken the connection.
      if (to.connected) this.#startStream(to);
    } else if (memory === undefined) this.#pump(to, 0);
    else this.sent = true;
  }

  #startStream(to: UpstreamConnection): void {
    this.#streamStarted = true;
    for (const bytes of this.#early) to.write(this.#chunked ? chunk(bytes) : bytes);
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
    this.#buffer?.dispose();
    this.#pumping = undefined;
    this.#early = [];
    this.#ended = true;
  }

  /** One buffer of header block, framing, empty line and the body's `parts`. */
  #headWith(parts: readonly Buffer[]): Buffer {
    if (this.#framing === '' && parts.length === 0) return this.#head;
    const block = this.headerBlock;
    const framing = this.#framing + CRLF;
    let length = block.length + framing.length;
    for (const part of parts) length += part.length;
    const bytes = Buffer.allocUnsafe(length);
    block.copy(bytes, 0);
    let at = block.length;
    at += bytes.write(framing, at, 'latin1');
    for (const part of parts) at += part.copy(bytes, at);
    return bytes;
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
    this.#buffer?.read(position, (error, bytes) => {
      // The exchange may have ended or gone to another connection meanwhile.
      if (this.#pumping !== to) return;
      if (error !== null) return this.owner.bodyFailed(error);
      if (bytes.length === 0) {
        this.sent = true;
        return;
      }
      // The app takes no more; what it had to say is still to be read.
      if (to.refused) return;
      to.write(bytes);
      if (to.backlogged) this.#parkedAt = position + bytes.length;
      else this.#pump(to, position + bytes.length);
    });
  }
}

function chunk(bytes: Buffer): Buffer {
  const head = bytes.length.toString(16) + CRLF;
  const all = Buffer.allocUnsafe(head.length + bytes.length + 2);
  all.write(head, 0, 'latin1');
  bytes.copy(all, head.length);
  all.write(CRLF, head.length + bytes.length, 'latin1');
  return all;
}
