/**
 * Kept-alive connections to app processes, by the place where the process listens. The connection used last is used
 * first; idle ones are bounded in number and age. What travels on a connection is its user's business.
 */
import { Socket, type OnReadOpts } from 'node:net';
import { descriptorOf } from './accepted-socket.js';
import { queue, queueCopy, writeError, writeNow, type SendBytes, type WidenSocket } from './direct-write.js';
import { ResponseParser } from './response-parser.js';
import { HEADROOM, HeldRooms, makeRoom, recycleRoom, takeRoom, WORTH_GIVING, type Room } from './rooms.js';
import type { AppTarget } from './session-source.js';

/** Whoever has the connection at the moment. Nothing is called any more after `release` or `destroy`. */
export interface UpstreamUser {
  /** Bytes `start` to `end` of `room`; they are gone after the call unless `room` was given away. */
  upstreamData(room: Buffer, start: number, end: number): void;
  upstreamConnected(): void;
  /** The app will send no more. */
  upstreamEnd(): void;
  upstreamClosed(): void;
  /** Everything written has reached the socket. */
  upstreamDrained(): void;
}

/** Body bytes after which a connection gets a read buffer of its own, to be given away instead of copied. */
const BULK_AFTER = 49_152;
/** Unwritten bytes beyond which whoever writes should stop. */
const BACKLOG = 262_144;

const MAX_IDLE_PER_TARGET = 128;
const MAX_IDLE_MS = 30_000;
/** A request that may not be repeated takes no connection that was idle for longer: the app may be closing it. */
const SURE_MS = 1_500;

const PROBE = Buffer.from('\r\n');

/** What all connections read into that carry no large body; never given away. */
const sharedRoom = makeRoom();

/**
 * An app may answer before it has read the whole request, and close. Writing on fails then, for which a Socket destroys
 * itself, together with the answer that it has not read yet. Here the rest of the request is dropped instead and reading
 * goes on; it ends by itself, because the other end has closed.
 */
class UpstreamSocket extends Socket {
  /** Why the app takes no more bytes. */
  refused = '';
  /** Set for requests with a body; all others are one small write, which needs no care and gets no closure. */
  careful = false;

  override _write(chunk: unknown, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.refused !== '') done();
    else super._write(chunk, encoding, this.careful ? this.#forgiving(done) : done);
  }

  override _writev(
    chunks: { chunk: unknown; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    if (this.refused !== '') done();
    else super._writev?.(chunks, this.careful ? this.#forgiving(done) : done);
  }

  /** A write past the stream has failed: the same as for one through it. */
  failed(error: NodeJS.ErrnoException): void {
    if (!this.careful || !this.#refusal(error)) this.destroy(error);
  }

  #forgiving(done: (error?: Error | null) => void): (error?: NodeJS.ErrnoException | null) => void {
    return (error) => done(this.#refusal(error) ? null : error);
  }

  /** Takes note of an error that says only that the app takes no more. */
  #refusal(error: NodeJS.ErrnoException | null | undefined): boolean {
    const late = error?.code === 'EPIPE' || error?.code === 'ECONNRESET';
    if (late) this.refused = error.code ?? '';
    return late;
  }
}

/** All connections to one place. */
interface Target {
  readonly idle: UpstreamConnection[];
  /** Connections that exist, idle or in use. */
  open: number;
}

export class UpstreamConnection {
  user: UpstreamUser | undefined;
  /** Responses that this connection has completed. */
  served = 0;
  idleSince = 0;
  /** Seconds after which the app closes an idle connection, as far as it said so; 0 = unknown. */
  keepAliveSeconds = 0;
  /** Why it has ended; empty: the app has ended it in good order. */
  error = '';
  connected = false;
  /** The system has taken nothing of the current request. */
  untouched = true;
  readonly parser = new ResponseParser();
  readonly #socket: UpstreamSocket;
  #room = sharedRoom;
  #given = false;
  #bodyBytes = 0;
  #paused = false;
  #closed = false;
  /** Rooms with parts of a request's body. */
  readonly #held = new HeldRooms();

  constructor(
    private readonly address: AppTarget,
    private readonly target: Target,
    private readonly send: SendBytes | undefined,
    widen: WidenSocket | undefined,
  ) {
    target.open += 1;
    const onread: OnReadOpts = {
      buffer: () => this.#nextPart(),
      callback: (count) => {
        if (this.user === undefined) this.destroy();
        else this.user.upstreamData(this.#room.bytes, HEADROOM, HEADROOM + count);
        return true;
      },
    };
    const options = { onread, allowHalfOpen: true, noDelay: true };
    const socket = new UpstreamSocket(options);
    socket.connect({ ...address });
    this.#socket = socket;
    socket.on('connect', () => {
      this.connected = true;
      // TCP finds its own size, as long as nobody sets one.
      if ('path' in address) widen?.(descriptorOf(socket));
      this.user?.upstreamConnected();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => (this.error = error.code ?? error.message));
    socket.on('drain', () => {
      this.#held.settle(socket.writableLength);
      this.user?.upstreamDrained();
    });
    socket.on('end', () => {
      if (this.error === '') this.error = socket.refused;
      if (this.user === undefined) this.destroy();
      else this.user.upstreamEnd();
    });
    socket.on('close', () => {
      const user = this.user;
      this.target.open -= 1;
      this.destroy();
      this.#closed = true;
      this.#held.settle(0);
      if (this.#room !== sharedRoom && !this.#given) recycleRoom(this.#room);
      this.#room = sharedRoom;
      user?.upstreamClosed();
    });
  }

  /** The app has closed before it took the whole request. */
  get refused(): boolean {
    return this.#socket.refused !== '';
  }

  /** The request that is written now has a body, which the app may refuse to read. */
  expectBody(): void {
    this.#socket.careful = true;
  }

  get backlogged(): boolean {
    return this.#socket.writableLength > BACKLOG;
  }

  /** Something is unwritten, and `upstreamDrained` will follow. */
  get loaded(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Takes the bytes over. */
  write(bytes: Buffer, start = 0, end = bytes.length): void {
    const rest = start + this.#writeNow(bytes, start, end);
    if (rest < end) queue(this.#socket, bytes.subarray(rest, end), this.#held);
  }

  /** The bytes stay the caller's: what does not go out at once is copied. */
  writeLent(bytes: Buffer, start = 0, end = bytes.length): void {
    const rest = start + this.#writeNow(bytes, start, end);
    if (rest < end) queueCopy(this.#socket, bytes, rest, end, this.#held);
  }

  /** How many bytes need no further care. */
  #writeNow(bytes: Buffer, start: number, end: number): number {
    const socket = this.#socket;
    if (socket.refused !== '') return end - start;
    const taken = writeNow(socket, bytes, start, end, this.send);
    if (taken >= 0) {
      this.untouched = false;
      return taken;
    }
    socket.failed(writeError(taken));
    return end - start;
  }

  /** Several buffers as one write. */
  writeParts(parts: readonly Buffer[]): void {
    this.untouched = false;
    this.#socket.cork();
    for (const part of parts) this.#socket.write(part);
    this.#socket.uncork();
  }

  /** The room, with bytes that were written, goes back when the socket has taken all of them. */
  hold(room: Room): void {
    this.#held.hold(room);
    this.#held.settle(this.#closed ? 0 : this.#socket.writableLength);
  }

  /** Ends our direction (tunnels). */
  endWriting(): void {
    this.#socket.end();
  }

  /**
   * The app has ended the connection: had it read the request? A Unix socket says so (unix(7)). A port does only when
   * something more is written: it is refused where the app had closed before.
   */
  lookForReset(): void {
    if (this.error !== '' || 'path' in this.address) return;
    const taken = writeNow(this.#socket, PROBE, 0, PROBE.length, this.send);
    if (taken < 0) this.error = writeError(taken).code ?? '';
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Counts body bytes; true when the user may keep the room of the current call instead of copying from it. */
  mayGive(count: number): boolean {
    this.#bodyBytes += count;
    return this.#room !== sharedRoom && count >= WORTH_GIVING;
  }

  /** The user keeps the room; the next read goes elsewhere. */
  give(): Room {
    this.#given = true;
    return this.#room;
  }

  /** The user is done and the connection in step: back to the idle ones. */
  release(now: number): void {
    this.user = undefined;
    this.served += 1;
    this.untouched = true;
    this.idleSince = now;
    this.#bodyBytes = 0;
    this.#socket.careful = false;
    this.parser.reset();
    this.resume();
    const { idle } = this.target;
    idle.push(this);
    if (idle.length > MAX_IDLE_PER_TARGET) idle[0]?.destroy();
  }

  /** Forgets the user and breaks the connection. */
  destroy(): void {
    if (this.user === undefined) {
      const { idle } = this.target;
      const at = idle.indexOf(this);
      if (at >= 0) idle.splice(at, 1);
    }
    this.user = undefined;
    this.#socket.destroy();
  }

  /** Called once before the first read and after each; says where the next bytes go. */
  #nextPart(): Buffer {
    if (this.#bodyBytes < BULK_AFTER) {
      if (this.#room !== sharedRoom && !this.#given) recycleRoom(this.#room);
      this.#room = sharedRoom;
    } else if (this.#given || this.#room === sharedRoom) this.#room = takeRoom();
    this.#given = false;
    return this.#room.part;
  }
}

export class UpstreamPool {
  readonly #targets = new Map<string, Target>();

  constructor(
    private readonly send: SendBytes | undefined,
    private readonly widen?: WidenSocket,
  ) {}

  /**
   * A connection for one request.
   * @param replayable whether the request could be sent again should the app be closing the connection just now
   * @param fresh refuses kept connections, after one of them failed
   */
  take(address: AppTarget, now: number, replayable: boolean, fresh: boolean): UpstreamConnection {
    const key = 'path' in address ? address.path : `:${address.port}`;
    let target = this.#targets.get(key);
    if (target === undefined) {
      target = { idle: [], open: 0 };
      this.#targets.set(key, target);
    }
    const last = fresh ? undefined : target.idle.pop();
    if (last === undefined) return new UpstreamConnection(address, target, this.send, this.widen);
    if (replayable || now - last.idleSince <= SURE_MS) return last;
    // An app that serves one connection at a time must not keep the old one and wait on it.
    last.destroy();
    return new UpstreamConnection(address, target, this.send, this.widen);
  }

  /** Closes what was idle for too long. Called by the listener's sweep. */
  sweep(now: number): void {
    for (const [key, { idle, open }] of this.#targets) {
      // The oldest stand at the beginning.
      for (let first = idle[0]; first !== undefined && expired(first, now); first = idle[0]) first.destroy();
      // A connection in use comes back to this very list.
      if (open === 0) this.#targets.delete(key);
    }
  }

  /** Closes all idle connections, for the end of the process. */
  close(): void {
    for (const { idle } of this.#targets.values()) {
      for (const connection of [...idle]) connection.destroy();
    }
  }

  get idleCount(): number {
    let count = 0;
    for (const { idle } of this.#targets.values()) count += idle.length;
    return count;
  }
}

function expired(connection: UpstreamConnection, now: number): boolean {
  const hint = connection.keepAliveSeconds;
  // A second before the app does it itself.
  const limit = hint === 0 ? MAX_IDLE_MS : Math.min(MAX_IDLE_MS, Math.max(hint - 1, 0.5) * 1000);
  return now - connection.idleSince > limit;
}
