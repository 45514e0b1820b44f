/** A gateway with a fake pool on a real Unix socket, and raw app servers that send exactly what a test says. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Clock } from '../../../core/base/clock.js';
import { systemClock } from '../../../core/base/clock.js';
import { Log, LogThreshold, type Level } from '../../../core/base/log.js';
import { makeAppConfig, type AppConfig, type RequestConfig } from '../../../core/config/app-config.js';
import { ExplicitValues } from '../../../core/config/settings.js';
import type { SendBytes } from '../../../core/gateway/direct-write.js';
import { Gateway } from '../../../core/gateway/gateway.js';
import { Listener } from '../../../core/gateway/listener.js';
import type {
  AppTarget,
  CheckoutOptions,
  GatewaySession,
  SessionOutcome,
  OverdueLimit,
  SessionSource,
  Ticket,
  Waiter,
} from '../../../core/gateway/session-source.js';
import { acceptNext, peerLeft, sendBytes } from '../../../core/native.js';
import { SECRET, ShimClient, TABLE_HASH } from './shim-client.js';

/** Bytes of an answer that may wait in a file. */
export const BUFFER_LIMIT = 16_777_216;

/** Hands out sessions at once, or keeps waiters until the test serves them. */
export class FakeSource implements SessionSource {
  target: AppTarget = { path: '/nonexistent' };
  /** Of the sessions after the next one. */
  nextTarget: AppTarget | undefined;
  /** Of the sessions from now on. */
  stickyId: string | undefined;
  hold = false;
  readonly waiters: Waiter[] = [];
  readonly outcomes: SessionOutcome[] = [];
  readonly drainListeners: (() => void)[] = [];
  readonly options: CheckoutOptions[] = [];
  open = 0;
  checkouts = 0;
  connectFailures = 0;
  readonly overdue: OverdueLimit[] = [];
  canceled = 0;

  checkout(_app: AppConfig, waiter: Waiter, options: CheckoutOptions): GatewaySession | Ticket {
    this.checkouts += 1;
    this.options.push(options);
    if (!this.hold) return this.session();
    this.waiters.push(waiter);
    return {
      cancel: () => {
        this.canceled += 1;
      },
    };
  }

  session(): GatewaySession {
    this.open += 1;
    let closed = false;
    const { target } = this;
    this.target = this.nextTarget ?? target;
    this.nextTarget = undefined;
    return {
      target,
      ...(this.stickyId === undefined ? {} : { stickyId: this.stickyId }),
      onDrain: (listener) => {
        this.drainListeners.push(listener);
      },
      close: (outcome) => {
        if (closed) throw new Error('session closed twice');
        closed = true;
        this.open -= 1;
        this.outcomes.push(outcome);
      },
    };
  }

  reportConnectFailure(): void {
    this.connectFailures += 1;
  }

  reportOverdue(_session: GatewaySession, limit: OverdueLimit): void {
    this.overdue.push(limit);
  }
}

function fakeConfig(overrides: Readonly<Record<string, unknown>>): RequestConfig {
  const facts = {
    appRoot: '/srv/app',
    baseUri: '/',
    documentRoot: '',
    found: 'node',
    foundStartupFile: '',
    env: [],
  } as const;
  const app = makeAppConfig(facts, { ...new ExplicitValues().settings('app'), ...overrides });
  return { app, request: { ...new ExplicitValues().settings('request'), ...overrides }, serverName: 'test' };
}

export class Fixture {
  readonly source = new FakeSource();
  readonly lines: string[] = [];
  readonly gateway: Gateway;
  readonly listener: Listener;
  readonly path: string;
  readonly bufferDir: string;
  decoded = 0;
  peerUid = 0;
  /** PassengerCustomErrorPage, where the settings name one. */
  page: () => Promise<Buffer | undefined> = () => Promise.resolve(undefined);
  readonly #dir = mkdtempSync(join(tmpdir(), 'psg-gw-'));
  readonly #apps: Server[] = [];
  readonly appSockets: Socket[] = [];
  /** Descriptors of sockets that got room for more. */
  readonly widened: number[] = [];
  readonly #clients: ShimClient[] = [];

  private constructor(clock: Clock, send: SendBytes) {
    this.bufferDir = mkdtempSync(join(tmpdir(), 'psg-buf-'));
    this.path = join(this.#dir, 'core.sock');
    const sink = {
      write: (level: Level, _room: string, text: string) => void this.lines.push(`${level} ${text}`),
    };
    const settings = {
      get: (block: Buffer) => {
        this.decoded += 1;
        return fakeConfig(JSON.parse(block.toString()) as Record<string, unknown>);
      },
    };
    const log = new Log('gateway', sink, new LogThreshold(5));
    const widen = (fd: number): void => void this.widened.push(fd);
    const pages = { read: (): Promise<Buffer | undefined> => this.page() };
    this.gateway = new Gateway(
      { source: this.source, settings, log, version: '0.1.0', send, widen, pages },
      {
        dataBufferDir: this.bufferDir,
        showVersionInHeader: true,
        responseBufferHighWatermark: BUFFER_LIMIT,
      },
    );
    this.listener = new Listener({
      gateway: this.gateway,
      admission: { secret: SECRET, tableHash: TABLE_HASH },
      peerUid: () => this.peerUid,
      peerLeft,
      acceptNext,
      backlog: 2048,
      discard: () => undefined,
      allowedUids: new Set([0]),
      clock,
    });
  }

  static async start(
    t: TestContext,
    clock: Clock = systemClock,
    send: SendBytes = sendBytes,
  ): Promise<Fixture> {
    const fixture = new Fixture(clock, send);
    await fixture.listener.listen({ path: fixture.path });
    t.after(() => fixture.stop());
    return fixture;
  }

  client(hello?: ConstructorParameters<typeof ShimClient>[1]): ShimClient {
    const client = new ShimClient(this.path, hello);
    this.#clients.push(client);
    return client;
  }

  /**
   * A raw app; `serve` is called for each connection. Sessions lead to it from now on.
   * @param unread connections are handed over before anything was read from them; resume() begins
   */
  async app(serve: (socket: Socket, nth: number) => void, unread = false): Promise<void> {
    const server = createServer({ pauseOnConnect: unread }, (socket) => {
      socket.on('error', () => undefined);
      this.appSockets.push(socket);
      serve(socket, this.appSockets.length);
    });
    await this.listening(server, false);
  }

  /** Lets it listen as an app does; sessions lead to it from now on. */
  async listening(server: Server, onPort: boolean): Promise<void> {
    const path = join(this.#dir, `app${this.#apps.length}.sock`);
    this.#apps.push(server);
    const place = onPort ? { host: '127.0.0.1', port: 0 } : { path };
    await new Promise<void>((resolve) => server.listen(place, resolve));
    const address = server.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    this.source.target = onPort ? { host: '127.0.0.1', port } : { path };
  }

  /** An app that answers each request head with `bytes`, and with `end` closes after it. */
  async answering(bytes: string | Buffer, end = false): Promise<void> {
    await this.app((socket) => {
      socket.on('data', (chunk) => {
        if (!chunk.includes('\r\n\r\n')) return;
        if (end) socket.end(bytes, 'latin1');
        else socket.write(bytes, 'latin1');
      });
    });
  }

  bufferFiles(): string[] {
    return readdirSync(this.bufferDir);
  }

  stop(): void {
    for (const client of this.#clients) client.destroy();
    for (const socket of this.appSockets) socket.destroy();
    for (const app of this.#apps) app.close();
    this.listener.closeNow();
    void this.listener.stop();
    rmSync(this.#dir, { recursive: true, force: true });
    rmSync(this.bufferDir, { recursive: true, force: true });
  }
}
