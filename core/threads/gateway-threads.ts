/**
 * The gateway in several threads: starts them, hands on what all of them have to know, and adds up what they show. A
 * thread that ends is a crash of the core; the supervisor then starts another one, which takes the processes over.
 */
import { Worker } from 'node:worker_threads';
import { deferred } from '../base/deferred.js';
import type { LogSink } from '../base/log.js';
import type { PacedLog } from '../base/paced-log.js';
import type { ServerSettings } from '../config/settings.js';
import type { GatewayCounters } from '../gateway/gateway.js';
import type { PageSource } from '../gateway/error-page.js';
import type { Admission } from '../gateway/shim-connection.js';
import type { Front } from './front.js';
import type { FromThread, ThreadStart, ToThread } from './messages.js';
import { Pulse } from './pulse.js';
import type { DeskSeat, SessionDesk } from './session-desk.js';

type Configuration = Pick<ThreadStart, 'admission' | 'server'>;

export interface GatewayThreadsOptions {
  readonly count: number;
  /** The compiled entry, core/gateway-thread. */
  readonly entry: string;
  readonly desk: SessionDesk;
  readonly allowedUids: ReadonlySet<number>;
  readonly clockOrigin: number;
  /** Where the threads' lines go; each thread has decided already that they are to be written. */
  readonly sink: LogSink;
  /** One pace for the failures of all threads. */
  readonly failures: PacedLog;
  readonly pages: PageSource;
  /** Another descriptor of the same open file. */
  readonly duplicate: (fd: number) => number;
  /** A thread has ended, which it never does by itself. */
  readonly onCrash: (error: unknown) => void;
}

/**
 * With no more than this a thread may move its objects; what it holds beyond is bodies, outside of its heap. The young
 * generation is three times what core-process.ts sets for the main thread.
 */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 512, maxYoungGenerationSizeMb: 6 };
/** Questions after the last beat until a thread counts as frozen. */
const MISSED_BEATS = 3;

class Thread {
  readonly listening = deferred<void>();
  readonly stopped = deferred<void>();
  readonly #pulse = new Pulse();
  readonly #worker: Worker;
  readonly #seat: DeskSeat;
  #seenBeats = 0;
  #missed = 0;
  #ending = false;

  constructor(
    name: string,
    private readonly options: GatewayThreadsOptions,
    configuration: Configuration,
  ) {
    const { entry, desk, allowedUids, clockOrigin } = options;
    const workerData: ThreadStart = { ...configuration, allowedUids, clockOrigin, pulse: this.#pulse.memory };
    this.#worker = new Worker(entry, { name, workerData, resourceLimits: RESOURCE_LIMITS });
    this.#worker.on('message', (message: FromThread) => this.#hear(message));
    this.#worker.on('messageerror', options.onCrash);
    this.#worker.on('error', options.onCrash);
    this.#worker.on('exit', (code) => {
      if (!this.#ending) options.onCrash(new Error(`a gateway thread has ended: ${code}`));
    });
    this.#seat = desk.join((message) => this.post(message));
  }

  post(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  async end(): Promise<void> {
    this.#ending = true;
    await this.#worker.terminate();
  }

  counters(): GatewayCounters {
    return this.#pulse.counters();
  }

  /** Asked once a second; before it listens it may take its time. */
  alive(): boolean {
    const { beats } = this.#pulse;
    this.#missed = beats === this.#seenBeats && beats > 0 ? this.#missed + 1 : 0;
    this.#seenBeats = beats;
    return this.#missed < MISSED_BEATS;
  }

  async #sendPage({ ticket, app }: FromThread & { kind: 'page-wanted' }): Promise<void> {
    this.post({ kind: 'page', ticket, page: await this.options.pages.read(app) });
  }

  #hear(message: FromThread): void {
    switch (message.kind) {
      case 'listening':
        return this.listening.resolve();
      case 'stopped':
        return this.stopped.resolve();
      case 'page-wanted':
        return void this.#sendPage(message);
      case 'log':
        return this.options.sink.write(message.level, message.room, message.text);
      case 'failures':
        return this.options.failures.report(message.code, message.fields, message.key);
      default:
        this.#seat.handle(message);
    }
  }
}

export class GatewayThreads implements Front {
  readonly #threads: readonly Thread[];

  constructor(
    private readonly options: GatewayThreadsOptions,
    configuration: Configuration,
  ) {
    this.#threads = Array.from(
      { length: options.count },
      (_, index) => new Thread(`gateway ${index + 1}`, options, configuration),
    );
  }

  /** Each thread accepts on a descriptor of its own: the kernel wakes all, and the one that is idle is first. */
  async listen(fd: number): Promise<void> {
    for (const thread of this.#threads) thread.post({ kind: 'listen', fd: this.options.duplicate(fd) });
    await Promise.all(this.#threads.map((thread) => thread.listening.promise));
  }

  configure(admission: Admission, server: ServerSettings): void {
    for (const thread of this.#threads) thread.post({ kind: 'configure', admission, server });
  }

  async stop(): Promise<void> {
    for (const thread of this.#threads) thread.post({ kind: 'stop' });
    await Promise.all(this.#threads.map((thread) => thread.stopped.promise));
  }

  closeNow(): void {
    for (const thread of this.#threads) thread.post({ kind: 'close-now' });
  }

  /** Without asking; the core itself ends its threads by ending. */
  async end(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.end()));
  }

  counters(): readonly GatewayCounters[] {
    return this.#threads.map((thread) => thread.counters());
  }

  alive(): boolean {
    this.options.failures.sweep();
    // All are asked: each counts the questions.
    return this.#threads.filter((thread) => !thread.alive()).length === 0;
  }
}
