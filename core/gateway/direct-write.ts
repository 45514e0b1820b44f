/**
 * Writing past node:net while nothing is queued: one call of the addon takes a third of the CPU time of a stream's write
 * with its request object, callback and tick. Whatever does not go out at once is queued in the socket as ever, so that
 * order, backpressure and errors stay the socket's. Used for both legs.
 */
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { descriptorOf } from './accepted-socket.js';
import { ROOM_BYTES, takeRoom, WORTH_GIVING, type HeldRooms } from './rooms.js';

/** Bytes `start` to `end` to a descriptor, as far as it takes them now: the count, or a negative errno. Never waits. */
export type SendBytes = (fd: number, bytes: Buffer, start: number, end: number) => number;

/**
 * Lets a socket hold more: the default (208 KB) is full after three pieces of a large body, and each turn of the loop in
 * which it is costs both ends a wake-up. A limit, no memory: what is not in use costs nothing.
 */
export type WidenSocket = (fd: number) => void;

const { EAGAIN } = constants.errno;

/**
 * How many of the bytes from `start` to `end` the system has taken; the rest is the caller's to queue. Negative: the
 * connection is broken, and the number is what `writeError` makes an error of.
 * @param send absent where there is no addon: everything is to be queued
 */
export function writeNow(
  socket: Socket,
  bytes: Buffer,
  start: number,
  end: number,
  send: SendBytes | undefined,
): number {
  if (send === undefined || socket.writableLength > 0 || socket.connecting || socket.destroyed) return 0;
  const fd = descriptorOf(socket);
  if (fd < 0 || socket.writableEnded) return 0;
  const count = send(fd, bytes, start, end);
  return count === -EAGAIN ? 0 : count;
}

/** Queues what the system did not take. A `drain` follows only where that is much: rooms go back without it, too. */
export function queue(socket: Socket, bytes: Buffer, held: HeldRooms): void {
  socket.write(bytes, () => held.settle(socket.writableLength));
}

/** The same for bytes that stay the caller's: a copy, in a room where they are many. */
export function queueCopy(socket: Socket, bytes: Buffer, start: number, end: number, held: HeldRooms): void {
  if (socket.destroyed) return;
  const count = end - start;
  if (count < WORTH_GIVING || count > ROOM_BYTES) {
    socket.write(Buffer.from(bytes.subarray(start, end)));
    return;
  }
  const room = takeRoom();
  held.hold(room);
  queue(socket, room.bytes.subarray(0, bytes.copy(room.bytes, 0, start, end)), held);
}

/** The error that node:net would have made. */
export function writeError(errno: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(errno);
  return Object.assign(new Error(`write ${code}`), { errno, code, syscall: 'write' });
}
