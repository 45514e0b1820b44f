/**
 * Memory for large bodies: a room is read into and, with its frame headers written before and behind the data, written
 * out as it is. Rooms are used again as soon as the socket has taken their bytes, because new memory of this size costs
 * page faults and makes the collector run: together more than moving 64 KB. They come from one store for each thread,
 * outside of malloc's heap, where thousands of such pieces would leave holes that never go back to the system; what
 * nobody has used for a while does go back (`coolRooms`).
 */

/** Room before the bytes read, for frame headers, and for a head that has grown a little; as much and more is behind them. */
export const HEADROOM = 256;
export const READ_BYTES = 65_536;
/** A head and its frames must find room behind 64 KB of data, too. */
const TAIL = 4_096;
export const ROOM_BYTES = HEADROOM + READ_BYTES + TAIL;
/** Fewer bytes are copied: a room of 64 KB for a few of them would pin memory. */
export const WORTH_GIVING = 16_384;

export interface Room {
  readonly bytes: Buffer<ArrayBuffer>;
  /** The part that is read into. */
  readonly part: Buffer;
  /** Whether it is a place in the store; all others are left to the collector. */
  readonly stored: boolean;
}

/** 72 MB of addresses; memory only where it was used. */
const STORE_ROOMS = 1024;
const PAGE = 4_096;
const STRIDE = Math.ceil(ROOM_BYTES / PAGE) * PAGE;
/** malloc maps so much anew, with 16 bytes of its own before it: the first room begins with the second page. */
const FIRST = PAGE - 16;

let store: Buffer<ArrayBuffer> | undefined;
let carved = 0;
/** Used last = at the end: warm in the cache. */
const spare: Room[] = [];
/** Spare rooms since the last look were never fewer: these have not been used. */
let unused = 0;
/** Of the spare rooms, so many from the beginning hold no memory. */
let cold = 0;
/** Rooms that always stay warm: 1 MB. */
const WARM = 16;

/** A room beside the store. */
export function makeRoom(): Room {
  return roomIn(Buffer.allocUnsafeSlow(ROOM_BYTES), false);
}

export function takeRoom(): Room {
  const room = spare.pop() ?? carve();
  if (spare.length < unused) unused = spare.length;
  return room;
}

/** Nobody may use the room any more: whoever calls this was its only owner. */
export function recycleRoom(room: Room): void {
  if (room.stored) spare.push(room);
}

/** Rooms of the store that somebody owns. */
export function roomsInUse(): number {
  return carved - spare.length;
}

/**
 * Gives the memory of rooms back that nobody used since the last call. Called by the listener's sweep, seconds apart.
 * @param discard makes the system forget the contents of whole pages
 */
export function coolRooms(discard: (bytes: Buffer) => void): void {
  cold = Math.min(cold, unused);
  for (; cold < unused - WARM; cold += 1) {
    const room = spare[cold];
    if (room !== undefined) discard(room.bytes);
  }
  unused = spare.length;
}

function roomIn(bytes: Buffer<ArrayBuffer>, stored: boolean): Room {
  return { bytes, part: bytes.subarray(HEADROOM, HEADROOM + READ_BYTES), stored };
}

function carve(): Room {
  if (carved === STORE_ROOMS) return makeRoom();
  store ??= Buffer.allocUnsafeSlow(FIRST + STORE_ROOMS * STRIDE);
  const start = FIRST + carved * STRIDE;
  carved += 1;
  return roomIn(store.subarray(start, start + STRIDE), true);
}

/** Rooms whose bytes a socket may not have taken yet. */
export class HeldRooms {
  readonly #rooms: Room[] = [];

  get any(): boolean {
    return this.#rooms.length > 0;
  }

  hold(room: Room): void {
    this.#rooms.push(room);
  }

  /** @param unwritten bytes that the socket has not taken: without any it looks into none of the rooms */
  settle(unwritten: number): void {
    if (unwritten > 0) return;
    for (let room = this.#rooms.pop(); room !== undefined; room = this.#rooms.pop()) recycleRoom(room);
  }
}
