/**
 * An exchange after an upgrade: bytes both ways, each direction ended for itself, no limit on silence. Both ends
 * hold the other back when they cannot take more.
 */
import { END_FRAME, writeFrameHeader } from '../wire/encoder.js';
import { DATA_FLAG_FLUSH, FRAME, FRAME_HEADER, MAX_BODY_PAYLOAD } from '../wire/frames.js';
import type { ShimLink } from './shim-link.js';
import type { UpstreamConnection } from './upstream.js';

export class Tunnel {
  #appEnded = false;
  #clientEnded = false;

  constructor(
    private readonly link: ShimLink,
    private readonly upstream: UpstreamConnection,
  ) {}

  /** Whether both directions have ended; what the client has said may still be on its way to the app. */
  get over(): boolean {
    return this.#appEnded && this.#clientEnded;
  }

  /** Whether END is written. */
  get endWritten(): boolean {
    return this.#appEnded;
  }

  fromApp(room: Buffer, start: number, end: number): void {
    for (let at = start; at < end; at += MAX_BODY_PAYLOAD) {
      const to = Math.min(end, at + MAX_BODY_PAYLOAD);
      // What stands there has gone out already, or is the room that every read leaves for this.
      writeFrameHeader(room, at - FRAME_HEADER, FRAME.DATA, DATA_FLAG_FLUSH, to - at);
      this.link.writeLent(room, at - FRAME_HEADER, to);
    }
    if (this.link.backlogged) this.upstream.pause();
  }

  /** @param bytes valid during the call only */
  fromClient(bytes: Buffer): void {
    this.upstream.writeLent(bytes);
    if (this.upstream.backlogged) this.link.pause();
  }

  appEnded(): void {
    if (this.#appEnded) return;
    this.#appEnded = true;
    this.link.write(END_FRAME);
  }

  clientEnded(): void {
    if (this.#clientEnded) return;
    this.#clientEnded = true;
    this.upstream.endWriting();
  }
}
