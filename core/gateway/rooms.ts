/**
 * Memory for large bodies: a room is read into and, with its frame headers written before and behind the data, written
 * out as it is. Rooms are used again as soon as the socket has taken their bytes, because new memory of this size costs
 * page faults and makes the collector run: together more than moving 64 KB.
 */

/** Room before the bytes read, for a frame header; as much and more is behind them. */
export const HEADROOM = 8;
const READ_BYTES = 65_536;
/** A head and its frames must find room behind 64 KB of data, too. */
const TAIL = 4_096;
export const ROOM_BYTES = HEADROOM + READ_BYTES + TAIL;

export interface Room {
  readonly bytes: Buffer<ArrayBuffer>;
  /** The part that is read into. */
  readonly part: Buffer;
}

export function makeRoom(): Room {
  const bytes = Buffer.allocUnsafeSlow(ROOM_BYTES);
  return { bytes, part: bytes.subarray(HEADROOM, HEADROOM + READ_BYTES) };
}

/** Rooms that nobody uses: at most 4 MB. */
const MAX_SPARE = 60;
const spare: Room[] = [];

/** The one used last, which is warm in the cache. */
export function takeRoom(): Room {
  return spare.pop() ?? makeRoom();
}

/** Nobody may use the room any more: whoever calls this was its only owner. */
export function recycleRoom(room: Room): void {
  if (spare.length < MAX_SPARE) spare.push(room);
}
