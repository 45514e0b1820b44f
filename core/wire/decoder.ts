/**
 * Splits a byte stream into frames, whatever way the bytes arrive. It checks type, flags and length before it
 * allocates, and knows nothing of what a payload means or which frame may follow which.
 *
 * A frame that lies wholly in one chunk is handed out as a view into that chunk, valid only during the call: a
 * receiver that keeps bytes copies them. A frame in pieces is collected in a buffer of its own, of checked length;
 * but a piece of a BODY is handed out like a BODY of its own, so that its bytes are not moved once more.
 */
import { FRAME_HEADER, WireError, frameRule, type Sender } from './frames.js';

export interface FrameSink {
  onFrame(type: number, flags: number, payload: Buffer): void;
}

export class FrameDecoder {
  readonly #header = Buffer.alloc(FRAME_HEADER);
  #headerBytes = 0;
  #payload: Buffer | undefined;
  #payloadBytes = 0;
  /** Bytes that are still to come of a frame that is handed out in pieces. */
  #streamLeft = 0;
  #stopped = false;

  /** @param sender whose frames are to be decoded */
  constructor(
    private readonly sender: Sender,
    private readonly sink: FrameSink,
  ) {}

  /** Whether the stream may end here without cutting a frame. */
  get atBoundary(): boolean {
    return this.#headerBytes === 0;
  }

  /** No frame is handed out any more, also not of the chunk that is being decoded. */
  stop(): void {
    this.#stopped = true;
    this.#payload = undefined;
  }

  /** @throws WireError at the first violation; the decoder must not be used afterwards. */
  push(chunk: Buffer, start = 0, end = chunk.length): void {
    let at = start;
    while (at < end && !this.#stopped) {
      if (this.#headerBytes > 0 || end - at < FRAME_HEADER) {
        at = this.#continue(chunk, at, end);
        continue;
      }
      const length = this.#check(chunk, at);
      const next = at + FRAME_HEADER + length;
      if (next > end) {
        at = this.#continue(chunk, at, end);
        continue;
      }
      this.sink.onFrame(byte(chunk, at), byte(chunk, at + 1), chunk.subarray(at + FRAME_HEADER, next));
      at = next;
    }
  }

  /** Takes bytes of a frame in pieces; returns the position behind them. */
  #continue(chunk: Buffer, start: number, end: number): number {
    let at = start;
    const header = this.#header;
    if (this.#headerBytes < FRAME_HEADER) {
      const take = Math.min(FRAME_HEADER - this.#headerBytes, end - at);
      chunk.copy(header, this.#headerBytes, at, at + take);
      this.#headerBytes += take;
      at += take;
      if (this.#headerBytes < FRAME_HEADER) return at;
      const length = this.#check(header, 0);
      if (frameRule(byte(header, 0))?.stream === true) this.#streamLeft = length;
      else this.#payload = Buffer.allocUnsafe(length);
      this.#payloadBytes = 0;
    }
    if (this.#streamLeft > 0) return this.#handOn(chunk, at, end);
    const payload = this.#payload;
    if (payload === undefined) return end;
    const take = Math.min(payload.length - this.#payloadBytes, end - at);
    chunk.copy(payload, this.#payloadBytes, at, at + take);
    this.#payloadBytes += take;
    at += take;
    if (this.#payloadBytes === payload.length) {
      this.#payload = undefined;
      this.#headerBytes = 0;
      this.sink.onFrame(byte(header, 0), byte(header, 1), payload);
    }
    return at;
  }

  #handOn(chunk: Buffer, start: number, end: number): number {
    const next = Math.min(end, start + this.#streamLeft);
    if (next === start) return next;
    this.#streamLeft -= next - start;
    if (this.#streamLeft === 0) this.#headerBytes = 0;
    this.sink.onFrame(byte(this.#header, 0), byte(this.#header, 1), chunk.subarray(start, next));
    return next;
  }

  /** Returns the length of the payload of the header at `at`. */
  #check(bytes: Buffer, at: number): number {
    const type = byte(bytes, at);
    const rule = frameRule(type);
    if (rule === undefined || rule.sender !== this.sender)
      throw new WireError(`unexpected frame type ${type}`);
    const flags = byte(bytes, at + 1);
    if ((flags & ~rule.flags) !== 0) throw new WireError(`unknown flags ${flags} in ${rule.name}`);
    if ((byte(bytes, at + 2) | byte(bytes, at + 3)) !== 0)
      throw new WireError(`reserved bytes set in ${rule.name}`);
    const length =
      byte(bytes, at + 4) * 0x1000000 +
      ((byte(bytes, at + 5) << 16) | (byte(bytes, at + 6) << 8) | byte(bytes, at + 7));
    if (length < rule.min || length > rule.max) throw new WireError(`length ${length} in ${rule.name}`);
    return length;
  }
}

function byte(bytes: Buffer, at: number): number {
  return bytes[at] ?? 0;
}
