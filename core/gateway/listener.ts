/**
 * Takes connections of the Apache module on the listening socket that the supervisor handed down, refuses strangers,
 * and keeps the one timer of the gateway: a sweep each 250 ms that looks after everything that waits.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { deferred } from '../base/deferred.js';
import type { Clock, ClockTimer } from '../base/clock.js';
import { descriptorOf, takeOver } from './accepted-socket.js';
import type { Gateway } from './gateway.js';
import { ShimConnection, type Admission, type ConnectionOwner } from './shim-connection.js';

export const SWEEP_MS = 250;

export interface ListenerOptions {
  readonly gateway: Gateway;
  readonly admission: Admission;
  /** Effective uid of the process at the other end of a connected socket. */
  readonly peerUid: (fd: number) => number;
  /** Whether the other end of a connected socket has closed, told without reading. */
  readonly peerLeft: (fd: number) => boolean;
  /** Who may connect: Apache's user, and root. */
  readonly allowedUids: ReadonlySet<number>;
  readonly clock: Clock;
  readonly maxConnections?: number;
}

const DEFAULT_MAX_CONNECTIONS = 8_192;

export class Listener implements ConnectionOwner {
  admission: Admission;
  stopping = false;
  readonly #connections = new Set<ShimConnection>();
  readonly #server: Server;
  #timer: ClockTimer | undefined;
  readonly #sweepSoon: () => void;
  readonly #stopped = deferred<void>();

  constructor(private readonly options: ListenerOptions) {
    this.admission = options.admission;
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket));
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
    this.#server.listen({ ...where }, () => {
      this.#server.removeListener('error', done.reject);
      // Errors of accept (no descriptors left) must not end the core; the backlog keeps the connections.
      this.#server.on('error', () => undefined);
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

  #accept(accepted: Socket): void {
    const { gateway, allowedUids, peerUid, maxConnections = DEFAULT_MAX_CONNECTIONS } = this.options;
    const uid = uidOf(accepted, peerUid);
    if (!allowedUids.has(uid)) {
      gateway.log.report('PSG3005', { uid });
      accepted.destroy();
      return;
    }
    if (this.#connections.size >= maxConnections) {
      gateway.log.report('PSG3007', { connections: this.#connections.size });
      accepted.destroy();
      return;
    }
    const connection = new ShimConnection(gateway, this);
    this.#connections.add(connection);
    gateway.counters.connections = this.#connections.size;
    const socket = takeOver(accepted, (bytes, count) => connection.bytes(bytes, count));
    connection.attach(socket);
    socket.resume();
  }
}

/** -1 when the system does not say: nobody is let in on a doubt. */
function uidOf(socket: Socket, peerUid: (fd: number) => number): number {
  try {
    return peerUid(descriptorOf(socket));
  } catch {
    return -1;
  }
}
