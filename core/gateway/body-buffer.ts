/**
 * Collects a request body before an app is bothered with it: in memory at first, beyond a limit in a file that has
 * no name any more, so that nothing is left over however the process ends. Reports instead of throwing; owns its
 * descriptor until `dispose`.
 */
import { close, read, writev } from 'node:fs';
import { openNameless, remainder } from './nameless-file.js';

/** Passenger's value. */
export const MEMORY_LIMIT = 131_072;
/** Bytes waiting for the disk beyond which the sender is held back. */
const HIGH_WATER = 524_288;
const READ_BYTES = 65_536;

export interface BodyBufferOwner {
  /** The disk has caught up: the sender may go on. */
  bodyRoom(): void;
  /** After `finish`: everything is stored. */
  bodyStored(): void;
  bodyFailed(error: NodeJS.ErrnoException): void;
}

export class BodyBuffer {
  /** Bytes taken so far. */
  length = 0;
  #chunks: Buffer[] = [];
  #chunkBytes = 0;
  /** -1 while everything is in memory. */
  #fd = -1;
  #written = 0;
  #busy = false;
  #spilled = false;
  #finished = false;
  #disposed = false;

  constructor(
    private readonly directory: string,
    private readonly owner: BodyBufferOwner,
  ) {}

  /** Whether the sender should be held back until `bodyRoom`. */
  get full(): boolean {
    return this.#spilled && this.#chunkBytes > HIGH_WATER;
  }

  /** The whole body, when it is in memory. */
  get memory(): readonly Buffer[] | undefined {
    return this.#spilled ? undefined : this.#chunks;
  }

  /** Takes bytes over: the caller does not touch them any more. */
  append(bytes: Buffer): void {
    this.length += bytes.length;
    this.#chunks.push(bytes);
    this.#chunkBytes += bytes.length;
    if (this.#spilled || this.#chunkBytes > MEMORY_LIMIT) this.#spill();
  }

  /** No more bytes follow. Returns true when everything is stored; otherwise `bodyStored` follows. */
  finish(): boolean {
    this.#finished = true;
    return !this.#busy;
  }

  /** Reads a spilled body from `position`; an empty chunk is its end. */
  read(position: number, done: (error: NodeJS.ErrnoException | null, chunk: Buffer) => void): void {
    this.#busy = true;
    const chunk = Buffer.allocUnsafe(READ_BYTES);
    read(this.#fd, chunk, 0, READ_BYTES, position, (error, count) => {
      this.#busy = false;
      if (this.#disposed) this.#close();
      else done(error, chunk.subarray(0, count));
    });
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#chunks = [];
    if (!this.#busy) this.#close();
  }

  #close(): void {
    if (this.#fd >= 0) close(this.#fd, () => undefined);
    this.#fd = -1;
  }

  #spill(): void {
    this.#spilled = true;
    if (this.#busy) return;
    this.#busy = true;
    if (this.#fd >= 0) this.#write();
    else this.#open();
  }

  #open(): void {
    openNameless(this.directory, (error, fd) => {
      this.#fd = fd;
      if (error !== null || this.#disposed) this.#settle(error);
      else this.#write();
    });
  }

  #write(): void {
    const chunks = this.#chunks;
    const total = this.#chunkBytes;
    this.#chunks = [];
    writev(this.#fd, chunks, this.#written, (error, count) => {
      if (error !== null) return this.#settle(error);
      this.#written += count;
      this.#chunkBytes -= count;
      if (count < total && !this.#disposed) this.#chunks = [...remainder(chunks, count), ...this.#chunks];
      if (this.#chunks.length > 0 && !this.#disposed) this.#write();
      else this.#settle(null);
      if (!this.#disposed && !this.full) this.owner.bodyRoom();
    });
  }

  #settle(error: NodeJS.ErrnoException | null): void {
    this.#busy = false;
    if (this.#disposed) this.#close();
    else if (error !== null) this.owner.bodyFailed(error);
    else if (this.#finished) this.owner.bodyStored();
  }
}
