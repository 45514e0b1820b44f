/**
 * Takes connections of the Apache module on the listening socket that the supervisor handed down, refuses strangers,
 * and keeps the one timer of the gateway: a sweep each 250 ms that looks after everything that waits.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { readFileSync } from 'node:fs';
import { deferred } from '../base/deferred.js';
import type { Clock, ClockTimer } from '../base/clock.js';
import { PacedLog } from '../base/paced-log.js';
import { adopt, descriptorOf, takeOver } from './accepted-socket.js';
import type { Gateway } from './gateway.js';
import { coolRooms } from './rooms.js';
import { ShimConnection, type Admission, type ConnectionOwner } from './shim-connection.js';

export const SWEEP_MS = 250;
/** Sweeps between two looks at memory that nobody uses. */
const COOL_SWEEPS = 8;

export interface ListenerOptions {
  readonly gateway: Gateway;
  readonly admission: Admission;
  /** Effective uid of the process at the other end of a connected socket. */
  readonly peerUid: (fd: number) => number;
  /** Whether the other end of a connected socket has closed, told without reading. */
  readonly peerLeft: (fd: number) => boolean;
  /** Who may connect: Apache's user, and root. */
  readonly allowedUids: ReadonlySet<number>;
  /** Takes one more connection that waits on the listening descriptor; -1 when none does. */
  readonly acceptNext: (fd: number) => number;
  /** Connections that may wait; the kernel has a limit of its own. */
  readonly backlog: number;
  /** Gives the memory of whole pages back to the system. */
  readonly discard: (bytes: Buffer) => void;
  readonly clock: Clock;
  /** Connections that are taken in one turn of the loop behind the first; by default for one that listens alone. */
  readonly moreAtOnce?: number | undefined;
  readonly maxConnections?: number;
  /** Descriptors that the process may have; by default what the system says. */
  readonly maxDescriptors?: number;
}

/** A tunnel holds its connection: mostly the descriptors that the system allows are fewer. */
const DEFAULT_MAX_CONNECTIONS = 65_536;
/**
 * libuv takes one connection in a turn of the loop. In a burst, when each turn serves hundreds of others, the last of
 * them would wait for seconds and be given up by the module.
 */
const MORE_AT_ONCE = 63;
const SHORTAGE_PACE_MS = 60_000;
/** Descriptors kept free for connections to apps, buffer files and the log. */
const RESERVE = 64;

/** How many descriptors this process may have. Node raises its soft limit to the hard one at its start. */
function descriptorLimit(): number {
  try {
    const line = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
    return line === null ? Infinity : Number(line[1]);
  } catch {
    return Infinity;
  }
}

export class Listener implements ConnectionOwner {
  admission: Admission;
  stopping = false;
  readonly #connections = new Set<ShimConnection>();
  readonly #server: Server;
  #timer: ClockTimer | undefined;
  readonly #sweepSoon: () => void;
  readonly #stopped = deferred<void>();
  readonly #shortages: PacedLog;
  readonly #highestDescriptor: number;
  #sweeps = 0;

  constructor(private readonly options: ListenerOptions) {
    this.admission = options.admission;
    this.#shortages = new PacedLog(options.gateway.log, options.clock, SHORTAGE_PACE_MS);
    this.#highestDescriptor = (options.maxDescriptors ?? descriptorLimit()) - RESERVE;
    this.#server = createServer({ pauseOnConnect: true }, (socket) => {
      this.#accept(descriptorOf(socket), (onBytes) => takeOver(socket, onBytes));
      this.#acceptMore();
    });
    this.#sweepSoon = () => {
      this.sweep();
      this.#arm();
    };
    options.gateway.now = options.clock.now();
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** @param where in production a socket that is bound and listening already, by its number */
  listen(where: { readonly fd: number } | { readonly path: string }): Promise<void> {
    const done = deferred<void>();
    this.#server.once('error', done.reject);
    // Node would ask for 511, whatever the supervisor asked for when it made the socket.
    this.#server.listen({ ...where }, this.options.backlog, () => {
      this.#server.removeListener('error', done.reject);
      // Errors of accept must not end the core; the backlog keeps the connections.
      this.#server.on('error', (error: NodeJS.ErrnoException) => this.#short(error.code ?? error.message));
      done.resolve();
    });
    this.#arm();
    return done.promise;
  }

  /** Another secret or table after a reload; connections that are greeted stay. */
  setAdmission(admission: Admission): void {
    this.admission = admission;
  }

  /** Accepts no more, lets exchanges end, closes idle connections. Resolves when none is left. */
  stop(): Promise<void> {
    this.stopping = true;
    this.#server.close();
    for (const connection of [...this.#connections]) connection.stopWhenIdle();
    this.#settleStop();
    return this.#stopped.promise;
  }

  /** Breaks what is left, for the end of the drain's patience. */
  closeNow(): void {
    for (const connection of [...this.#connections]) connection.close();
    this.options.gateway.upstreams.close();
  }

  /** Looks after everything that waits; run by the timer. */
  sweep(): void {
    const { gateway, clock, peerLeft } = this.options;
    const now = clock.now();
    gateway.now = now;
    for (const connection of this.#connections) {
      if (connection.paused && peerLeft(connection.descriptor)) connection.close();
      else connection.tick(now);
    }
    gateway.upstreams.sweep(now);
    gateway.failures.sweep();
    this.#shortages.sweep();
    this.#sweeps += 1;
    if (this.#sweeps % COOL_SWEEPS === 0) coolRooms(this.options.discard);
  }

  connectionClosed(connection: ShimConnection): void {
    this.#connections.delete(connection);
    this.options.gateway.counters.connections = this.#connections.size;
    this.#settleStop();
  }

  #arm(): void {
    if (this.stopping && this.#connections.size === 0) return;
    this.#timer = this.options.clock.setTimeout(this.#sweepSoon, SWEEP_MS);
  }

  #settleStop(): void {
    if (!this.stopping || this.#connections.size > 0) return;
    if (this.#timer !== undefined) this.options.clock.clearTimeout(this.#timer);
    this.options.gateway.upstreams.close();
    this.#stopped.resolve();
  }

  /**
   * Connections that cannot be taken. libuv itself closes what waits when the last descriptor is gone, without a word to
   * us, so we stop short of that: the lowest free number is what a new descriptor gets.
   */
  #short(error: string): void {
    this.#shortages.report('PSG3008', { error, connections: this.#connections.size });
  }

  #acceptMore(): void {
    const door = descriptorOf(this.#server);
    const { moreAtOnce = MORE_AT_ONCE } = this.options;
    for (let count = 0; count < moreAtOnce && !this.stopping; count += 1) {
      const fd = this.options.acceptNext(door);
      if (fd < 0) return;
      this.#accept(fd, (onBytes) => adopt(fd, onBytes));
    }
  }

  /** @param open makes the socket of the connection, also for one that is refused */
  #accept(fd: number, open: (onBytes: (bytes: Buffer, count: number) => void) => Socket): void {
    const { gateway } = this.options;
    if (!this.#admits(fd)) {
      open(() => undefined).destroy();
      return;
    }
    gateway.widen?.(fd);
    const connection = new ShimConnection(gateway, this);
    this.#connections.add(connection);
    gateway.counters.connections = this.#connections.size;
    const socket = open((bytes, count) => connection.bytes(bytes, count));
    connection.attach(socket);
    socket.resume();
  }

  #admits(fd: number): boolean {
    const { gateway, allowedUids, peerUid, maxConnections = DEFAULT_MAX_CONNECTIONS } = this.options;
    const uid = uidOf(fd, peerUid);
    if (!allowedUids.has(uid)) {
      gateway.failures.report('PSG3005', { uid });
      return false;
    }
    if (this.#connections.size >= maxConnections) {
      gateway.failures.report('PSG3007', { connections: this.#connections.size });
      return false;
    }
    if (fd >= this.#highestDescriptor) {
      this.#short('EMFILE');
      return false;
    }
    return true;
  }
}

/** -1 when the system does not say: nobody is let in on a doubt. */
function uidOf(fd: number, peerUid: (fd: number) => number): number {
  try {
    return peerUid(fd);
  } catch {
    return -1;
  }
}
