/**
 * Keeps what an app has answered and a slow client has not taken yet, so that the app is free: in memory at first,
 * beyond a limit in a nameless file, and beyond the file's limit not at all (the app is held back then). First in, first
 * out, handed out as DATA frames. Exists only for answers whose reader was found to be slow; response-leg.ts decides.
 *
 *     append ─▶ chunks ─▶ file ─▶ take        a file that has been read to its end starts anew at 0
 */
import { close, read, writev } from 'node:fs';
import { writeFrameHeader } from '../wire/encoder.js';
import { FRAME, FRAME_HEADER } from '../wire/frames.js';
import { openNameless, remainder } from './nameless-file.js';

/** Bytes in memory beyond which the file is used. */
const MEMORY_LIMIT = 131_072;
/** Bytes waiting for the disk beyond which the app is held back. */
const HIGH_WATER = 262_144;
const READ_BYTES = 65_536;
/** What a small piece costs at least: a Buffer object is larger than a few bytes of data. */
const LEAST_COST = 256;

export interface ResponseBufferOwner {
  /** Something can be taken that could not before, or nothing is left. */
  bufferReady(): void;
  /** The app may go on. */
  bufferRoom(): void;
  /** No file from now on: what does not fit into memory holds the app back. Nothing is lost. */
  bufferUnwritable(error: NodeJS.ErrnoException): void;
  /** A part of the answer is lost. */
  bufferUnreadable(error: NodeJS.ErrnoException): void;
}

export class ResponseBuffer {
  #chunks: Buffer[] = [];
  /** Cost of the chunks, those on their way to the disk included. */
  #chunkCost = 0;
  /** -1 until the first chunk leaves memory. */
  #fd = -1;
  #written = 0;
  #readAt = 0;
  #writing = false;
  #reading = false;
  #frame: Buffer | undefined;
  #broken = false;
  #disposed = false;

  constructor(
    private readonly directory: string,
    /** Bytes that the file may have. */
    private readonly limit: number,
    private readonly owner: ResponseBufferOwner,
  ) {}

  /** Everything has been taken. */
  get empty(): boolean {
    return (
      this.#chunks.length === 0 &&
      this.#readAt === this.#written &&
      this.#frame === undefined &&
      !this.#writing &&
      !this.#reading
    );
  }

  /** Whether the app should be held back until `bufferRoom`. */
  get full(): boolean {
    return this.#chunkCost > (this.#diskTakesMore ? HIGH_WATER : MEMORY_LIMIT);
  }

  /** Takes bytes over: the caller does not touch them any more. */
  append(bytes: Buffer): void {
    this.#chunks.push(bytes);
    this.#chunkCost += costOf(bytes);
    this.#spill();
  }

  /** The next DATA frame. Undefined when nothing is left, or when it has to be waited for: `bufferReady` follows. */
  take(): Buffer | undefined {
    const frame = this.#frame;
    this.#frame = undefined;
    if (frame !== undefined || this.#reading) return frame;
    if (this.#readAt < this.#written) {
      this.#read();
      return undefined;
    }
    // What is being written comes before the chunks.
    const chunk = this.#writing ? undefined : this.#chunks.shift();
    if (chunk === undefined) return undefined;
    this.#chunkCost -= costOf(chunk);
    if (!this.full) this.owner.bufferRoom();
    return dataFrame(chunk);
  }

  dispose(): void {
    this.#disposed = true;
    this.#chunks = [];
    this.#frame = undefined;
    this.#closeIfIdle();
  }

  get #diskTakesMore(): boolean {
    return !this.#broken && this.#written < this.limit;
  }

  #closeIfIdle(): void {
    if (this.#writing || this.#reading || this.#fd < 0) return;
    close(this.#fd, () => undefined);
    this.#fd = -1;
  }

  #spill(): void {
    if (this.#chunkCost <= MEMORY_LIMIT || this.#writing || !this.#diskTakesMore) return;
    this.#writing = true;
    if (this.#fd >= 0) {
      this.#write();
      return;
    }
    openNameless(this.directory, (error, fd) => {
      this.#fd = fd;
      if (error !== null || this.#disposed) this.#wrote([], error, 0);
      else this.#write();
    });
  }

  #write(): void {
    const chunks = this.#chunks;
    this.#chunks = [];
    writev(this.#fd, chunks, this.#written, (error, count) => this.#wrote(chunks, error, count));
  }

  #wrote(chunks: readonly Buffer[], error: NodeJS.ErrnoException | null, count: number): void {
    this.#writing = false;
    if (this.#disposed) {
      this.#closeIfIdle();
      return;
    }
    const done = error === null ? count : 0;
    this.#written += done;
    this.#chunks = [...remainder(chunks, done), ...this.#chunks];
    this.#chunkCost = this.#chunks.reduce((sum, chunk) => sum + costOf(chunk), 0);
    if (error !== null) {
      this.#broken = true;
      this.owner.bufferUnwritable(error);
    }
    this.#moved();
  }

  #read(): void {
    const length = Math.min(READ_BYTES, this.#written - this.#readAt);
    const frame = Buffer.allocUnsafeSlow(FRAME_HEADER + length);
    this.#reading = true;
    read(this.#fd, frame, FRAME_HEADER, length, this.#readAt, (error, count) => {
      this.#reading = false;
      if (this.#disposed) this.#closeIfIdle();
      else if (error !== null || count === 0) {
        this.owner.bufferUnreadable(error ?? new Error('the file is shorter than what was written'));
      } else {
        this.#readAt += count;
        writeFrameHeader(frame, 0, FRAME.DATA, 0, count);
        this.#frame = frame.subarray(0, FRAME_HEADER + count);
        this.#moved();
      }
    });
  }

  /** Something has been written or read. */
  #moved(): void {
    if (!this.#writing && this.#readAt === this.#written) this.#readAt = this.#written = 0;
    this.#spill();
    this.owner.bufferReady();
    if (!this.#disposed && !this.full) this.owner.bufferRoom();
  }
}

function costOf(chunk: Buffer): number {
  return Math.max(LEAST_COST, chunk.length);
}

function dataFrame(bytes: Buffer): Buffer {
  const frame = Buffer.allocUnsafeSlow(FRAME_HEADER + bytes.length);
  writeFrameHeader(frame, 0, FRAME.DATA, 0, bytes.length);
  bytes.copy(frame, FRAME_HEADER);
  return frame;
}
