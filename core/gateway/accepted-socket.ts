/**
 * Accepted connections, with two things that node:net offers only for outgoing ones or not at all: the descriptor
 * (to ask who the peer is), and reading into one shared buffer instead of a new one for each read. Both need the
 * socket's handle, which Node does not document; this file is the only one that touches it.
 */
import { Socket, type OnReadOpts, type Server } from 'node:net';

interface Handle {
  readonly fd?: number;
}
interface WithHandle {
  _handle?: Handle | null;
}

/** Large enough for three whole BODY frames, and for what a Unix socket holds by default. */
const READ_BYTES = 212_992;
const sharedBuffer = Buffer.allocUnsafeSlow(READ_BYTES);

/** The descriptor, or -1 when this Node hides it. */
export function descriptorOf(socket: Socket | Server): number {
  return (socket as unknown as WithHandle)._handle?.fd ?? -1;
}

function reading(onBytes: (bytes: Buffer, count: number) => void): OnReadOpts {
  return {
    buffer: sharedBuffer,
    callback: (count) => {
      onBytes(sharedBuffer, count);
      return true;
    },
  };
}

/** The same for a connection that was accepted past node:net, by its descriptor, which becomes the socket's. */
export function adopt(fd: number, onBytes: (bytes: Buffer, count: number) => void): Socket {
  const options = { fd, onread: reading(onBytes), readable: true, writable: true, manualStart: true };
  return new Socket(options);
}

/**
 * Takes a connection of a server with `pauseOnConnect` over into a socket that hands each read to `onBytes`.
 * The bytes are gone after the call.
 */
export function takeOver(accepted: Socket, onBytes: (bytes: Buffer, count: number) => void): Socket {
  const holder = accepted as unknown as WithHandle;
  const handle = holder._handle;
  if (handle === undefined || handle === null) {
    // A Node without the handle: a buffer for each read, otherwise the same.
    accepted.on('data', (bytes: Buffer) => onBytes(bytes, bytes.length));
    return accepted;
  }
  // The old socket lets go of the handle first; destroying it then only keeps the server's count right.
  holder._handle = null;
  accepted.destroy();
  const options = { handle, onread: reading(onBytes), readable: true, writable: true, manualStart: true };
  return new Socket(options);
}
