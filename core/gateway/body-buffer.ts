/**
 * Collects a request body before an app is bothered with it: in memory at first, beyond a limit in a file that has
 * no name any more, so that nothing is left over however the process ends. Reports instead of throwing; owns its
 * descriptor and its memory until `dispose`.
 *
 *     append ─▶ tail ─▶ pieces (64 KB each) ─▶ file ─▶ read
 */
import { close, readv, writev } from 'node:fs';
import type { BodyMemory } from './body-memory.js';
import { openNameless, remainder } from './nameless-file.js';
import { READ_BYTES, recycleRoom, takeRoom, type Room } from './rooms.js';

/** Each body may have so much in memory without asking. */
const FREE_BYTES = 65_536;
/** As long as the memory for all has room, a body may have this: larger ones would leave nothing for many others. */
const MOST_IN_MEMORY = 2_097_152;
/** The file is written when so much has come, or all. */
const WRITE_BYTES = 131_072;
/** Bytes waiting for the disk beyond which the sender is held back. */
const HIGH_WATER = 131_072;
/** Rooms that one read fills. */
const ROOMS_PER_READ = 4;
/** A sender of single bytes must not make an object of each, nor take a whole room for a few. */
const SMALL_TAIL = 8_192;
const NOTHING = Buffer.alloc(0);

export interface BodyBufferOwner {
  /** The disk has caught up: the sender may go on. */
  bodyRoom(): void;
  /** After `finish`: everything is stored. */
  bodyStored(): void;
  bodyFailed(error: NodeJS.ErrnoException): void;
}

/** Bytes of a body, and the room that they are in, if it is one. */
export interface Piece {
  readonly bytes: Buffer;
  readonly room: Room | undefined;
}

export function recyclePieces(pieces: readonly Piece[]): void {
  for (const { room } of pieces) if (room !== undefined) recycleRoom(room);
}

export class BodyBuffer {
  /** Bytes taken so far. */
  length = 0;
  #pieces: Piece[] = [];
  /** What is being filled. */
  #tail: Buffer = NOTHING;
  #tailUsed = 0;
  #tailRoom: Room | undefined;
  /** Bytes that the file has not taken. */
  #pending = 0;
  /** Taken from the memory for all bodies. */
  #borrowed = 0;
  /** -1 while everything is in memory. */
  #fd = -1;
  #written = 0;
  #busy = false;
  #spilled = false;
  #finished = false;
  #disposed = false;

  constructor(
    private readonly directory: string,
    private readonly memoryForAll: BodyMemory,
    private readonly owner: BodyBufferOwner,
  ) {}

  /** Whether the sender should be held back until `bodyRoom`. */
  get full(): boolean {
    return this.#spilled && this.#pending > HIGH_WATER;
  }

  /** The whole body, when it is in memory; stays the buffer's. */
  get memory(): readonly Buffer[] | undefined {
    if (this.#spilled) return undefined;
    this.#sealTail();
    return this.#pieces.map(({ bytes }) => bytes);
  }

  /** @param bytes valid during the call only */
  append(bytes: Buffer): void {
    this.length += bytes.length;
    this.#pending += bytes.length;
    for (let at = 0; at < bytes.length;) {
      if (this.#tailUsed === this.#tail.length) this.#newTail(bytes.length - at);
      const count = bytes.copy(this.#tail, this.#tailUsed, at);
      at += count;
      this.#tailUsed += count;
    }
    if (!this.#spilled && this.#mayStay()) return;
    this.#spilled = true;
    if (!this.#busy && this.#pending >= WRITE_BYTES) this.#write();
  }

  /** No more bytes follow. Returns true when everything is stored; otherwise `bodyStored` follows. */
  finish(): boolean {
    this.#finished = true;
    if (this.#spilled && !this.#busy && this.#pending > 0) this.#write();
    return !this.#busy;
  }

  /** Reads a spilled body from `position`; no pieces = its end. The pieces are the caller's. */
  read(
    position: number,
    done: (error: NodeJS.ErrnoException | null, pieces: readonly Piece[]) => void,
  ): void {
    const left = Math.min(ROOMS_PER_READ * READ_BYTES, this.length - position);
    if (left === 0) {
      done(null, []);
      return;
    }
    const rooms = Array.from({ length: Math.ceil(left / READ_BYTES) }, takeRoom);
    this.#busy = true;
    readv(
      this.#fd,
      rooms.map(({ part }) => part),
      position,
      (error, count) => {
        this.#busy = false;
        const pieces = rooms.map((room, at) => ({
          bytes: room.part.subarray(0, Math.max(0, count - at * READ_BYTES)),
          room,
        }));
        const good = error === null && count > 0 && !this.#disposed;
        const used = pieces.filter(({ bytes }) => good && bytes.length > 0);
        recyclePieces(pieces.filter((piece) => !used.includes(piece)));
        if (this.#disposed) this.#close();
        else if (error !== null || count === 0) done(error ?? new Error('the file is too short'), []);
        else done(null, used);
      },
    );
  }

  /** @param release takes over each room of a body in memory, which a connection may still be reading from */
  dispose(release: (room: Room) => void): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#sealTail();
    for (const { room } of this.#pieces) if (room !== undefined) release(room);
    this.#pieces = [];
    this.#giveBack();
    if (!this.#busy) this.#close();
  }

  #close(): void {
    if (this.#fd >= 0) close(this.#fd, () => undefined);
    this.#fd = -1;
  }

  #giveBack(): void {
    this.memoryForAll.give(this.#borrowed);
    this.#borrowed = 0;
  }

  /** Whether all of a body may be in memory; takes from the memory for all what it needs for that. */
  #mayStay(): boolean {
    if (this.length <= FREE_BYTES + this.#borrowed) return true;
    if (this.length > MOST_IN_MEMORY) return false;
    const more = Math.ceil((this.length - FREE_BYTES - this.#borrowed) / READ_BYTES) * READ_BYTES;
    if (!this.memoryForAll.take(more)) return false;
    this.#borrowed += more;
    return true;
  }

  /** @param wanted bytes that are there to be stored */
  #newTail(wanted: number): void {
    this.#sealTail();
    if (wanted >= SMALL_TAIL || this.length - wanted >= SMALL_TAIL) {
      this.#tailRoom = takeRoom();
      this.#tail = this.#tailRoom.part;
    } else this.#tail = Buffer.allocUnsafe(Math.max(wanted, this.length - wanted));
  }

  #sealTail(): void {
    const room = this.#tailRoom;
    if (this.#tailUsed > 0) this.#pieces.push({ bytes: this.#tail.subarray(0, this.#tailUsed), room });
    this.#tail = NOTHING;
    this.#tailUsed = 0;
    this.#tailRoom = undefined;
  }

  /** Writes what there is, and makes the file first. */
  #write(): void {
    this.#busy = true;
    if (this.#fd >= 0) {
      this.#writePieces();
      return;
    }
    openNameless(this.directory, (error, fd) => {
      this.#fd = fd;
      if (error !== null || this.#disposed) this.#settle(error);
      else this.#writePieces();
    });
  }

  #writePieces(): void {
    this.#sealTail();
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#writeBytes(
      pieces.map(({ bytes }) => bytes),
      (error) => {
        recyclePieces(pieces);
        this.#giveBack();
        if (error !== null || this.#disposed) return this.#settle(error);
        if (this.#pending >= WRITE_BYTES || (this.#finished && this.#pending > 0)) this.#writePieces();
        else this.#settle(null);
        if (!this.#disposed && !this.full) this.owner.bodyRoom();
      },
    );
  }

  #writeBytes(chunks: readonly Buffer[], done: (error: NodeJS.ErrnoException | null) => void): void {
    writev(this.#fd, chunks, this.#written, (error, count) => {
      if (error !== null) return done(error);
      this.#written += count;
      this.#pending -= count;
      const left = remainder(chunks, count);
      if (left.length > 0 && !this.#disposed) this.#writeBytes(left, done);
      else done(null);
    });
  }

  #settle(error: NodeJS.ErrnoException | null): void {
    this.#busy = false;
    if (this.#disposed) this.#close();
    else if (error !== null) this.owner.bodyFailed(error);
    else if (this.#finished) this.owner.bodyStored();
  }
}
