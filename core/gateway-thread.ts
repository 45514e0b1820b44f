/**
 * Entry of a gateway thread: the composition root of what the core has several times. Listener, gateway, settings and
 * connections to apps are the thread's own; pool, log and the decisions about the life of the core are in the main
 * thread (core.ts), which starts this file by threads/gateway-threads.ts and ends it with the process.
 */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { clockInStepWith } from './base/clock.js';
import type { ErrorCode } from './base/error-codes.js';
import type { Fields } from './base/errors.js';
import { Log, LogThreshold, type Level } from './base/log.js';
import { makeGateway } from './gateway-parts.js';
import type { Gateway } from './gateway/gateway.js';
import type { Listener } from './gateway/listener.js';
import type { Admission } from './gateway/shim-connection.js';
import type { FromThread, ThreadStart, ToThread } from './threads/messages.js';
import { BEAT_MS, Pulse } from './threads/pulse.js';
import { ThreadPages } from './threads/thread-pages.js';
import { ThreadSessions } from './threads/thread-sessions.js';

/** Connections stay where they were taken: the first thread that wakes must not take the whole burst. */
const MORE_AT_ONCE = 1;

class GatewayThread {
  readonly #threshold: LogThreshold;
  readonly #sessions: ThreadSessions;
  readonly #pages = new ThreadPages((message) => this.#post(message));
  readonly #gateway: Gateway;
  readonly #listener: Listener;
  readonly #pulse: Pulse;

  constructor(
    private readonly port: MessagePort,
    { server, admission, allowedUids, clockOrigin, pulse }: ThreadStart,
  ) {
    const clock = clockInStepWith(clockOrigin);
    this.#pulse = new Pulse(pulse);
    this.#threshold = new LogThreshold(server.logLevel);
    this.#sessions = new ThreadSessions((message) => this.#post(message), clock);
    const sink = {
      write: (level: Level, room: string, text: string): void =>
        this.#post({ kind: 'log', level, room, text }),
    };
    const surroundings = {
      source: this.#sessions,
      pages: this.#pages,
      admission: wholeAdmission(admission),
      allowedUids,
      clock,
      moreAtOnce: MORE_AT_ONCE,
      log: new Log('gateway', sink, this.#threshold),
      failures: {
        report: (code: ErrorCode, fields: Fields, key: string): void =>
          this.#post({ kind: 'failures', code, fields, key }),
      },
    };
    const { gateway, listener } = makeGateway(surroundings, server);
    this.#gateway = gateway;
    this.#listener = listener;
  }

  handle(message: ToThread): void {
    switch (message.kind) {
      case 'listen':
        return void this.#listen(message.fd);
      case 'configure':
        this.#threshold.level = message.server.logLevel;
        this.#listener.setAdmission(wholeAdmission(message.admission));
        return this.#gateway.reload(message.server);
      case 'page':
        return this.#pages.handle(message);
      case 'stop':
        return void this.#stop();
      case 'close-now':
        return this.#listener.closeNow();
      default:
        this.#sessions.handle(message);
    }
  }

  async #listen(fd: number): Promise<void> {
    await this.#listener.listen({ fd });
    this.#beat();
    this.#post({ kind: 'listening' });
  }

  async #stop(): Promise<void> {
    await this.#listener.stop();
    this.#pulse.beat(this.#gateway.counters);
    this.#post({ kind: 'stopped' });
  }

  #beat(): void {
    this.#pulse.beat(this.#gateway.counters);
    setTimeout(() => this.#beat(), BEAT_MS);
  }

  #post(message: FromThread): void {
    this.port.postMessage(message);
  }
}

/** The copy that a message makes of a Buffer is a plain array of bytes. */
function wholeAdmission({ secret, tableHash }: Admission): Admission {
  return { secret: Buffer.from(secret), tableHash };
}

function main(): void {
  if (parentPort === null) throw new Error('core/gateway-thread runs in a thread of the core');
  const thread = new GatewayThread(parentPort, workerData as ThreadStart);
  parentPort.on('message', (message: ToThread) => thread.handle(message));
}

main();
