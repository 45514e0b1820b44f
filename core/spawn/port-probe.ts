/**
 * For programs that are told a port: finding a free one, and seeing whether the program answers, on the port or on the
 * inherited socket, whichever comes first. Loopback only. Used by spawn-run.ts.
 */
import net from 'node:net';
import { PassengerError } from '../base/errors.js';
import type { AppTarget } from './spawner.js';

const HOST = '127.0.0.1';
const ATTEMPTS = 20;
const POLL_MS = 50;
/** A program that takes the inherited socket answers this without running a route. */
const PROBE = 'OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';

/** The port if it can be bound now; 0 asks the system for one. */
function bindable(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: HOST, exclusive: true }, () => {
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : undefined;
      server.close(() => resolve(bound));
    });
  });
}

/**
 * A port whose `count - 1` successors are free as well (Meteor takes them for itself). Somebody else may take it before the program
 * does; then the program fails to bind and says so.
 * @throws PassengerError PSG6009
 */
export async function choosePort(count: number): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = await bindable(0);
    if (port === undefined || port + count > 65_536) continue;
    if (await successorsFree(port, count)) return port;
  }
  throw new PassengerError('PSG6009', { attempts: ATTEMPTS });
}

async function successorsFree(port: number, count: number): Promise<boolean> {
  for (let next = port + 1; next < port + count; next += 1) {
    if ((await bindable(next)) === undefined) return false;
  }
  return true;
}

/** Watches a starting program until it answers or `stop` is called. Holds at most two connections. */
export class ReadinessProbe {
  readonly answered: Promise<AppTarget>;
  #settle: (target: AppTarget) => void = () => undefined;
  #stopped = false;
  readonly #sockets = new Set<net.Socket>();
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(
    private readonly socketPath: string,
    private readonly port: number,
  ) {
    this.answered = new Promise((resolve) => (this.#settle = resolve));
    this.#tryPort();
    this.#trySocket();
  }

  stop(): void {
    this.#stopped = true;
    for (const socket of this.#sockets) socket.destroy();
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #tryPort(): void {
    const socket = this.#connect({ port: this.port, host: HOST }, () => this.#tryPort());
    socket.once('connect', () => this.#found({ host: HOST, port: this.port }));
  }

  /** Connecting always succeeds, because the socket listens before the program runs; only an answer counts. */
  #trySocket(): void {
    const socket = this.#connect({ path: this.socketPath }, () => this.#trySocket());
    socket.once('connect', () => socket.write(PROBE));
    socket.once('data', (bytes: Buffer) => {
      if (bytes.toString('latin1').startsWith('HTTP/1.')) this.#found({ path: this.socketPath });
    });
  }

  #connect(target: net.NetConnectOpts, again: () => void): net.Socket {
    const socket = net.connect(target);
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      if (!this.#stopped) this.#later(again);
    });
    return socket;
  }

  #later(run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, POLL_MS);
    this.#timers.add(timer);
  }

  #found(target: AppTarget): void {
    if (this.#stopped) return;
    this.stop();
    this.#settle(target);
  }
}
