/**
 * What all exchanges of a core share: where sessions come from, connections to apps, settings, log, a coarse clock
 * and counters. Made once by the composition root; reload() takes new server settings over.
 */
import { tmpdir, totalmem } from 'node:os';
import type { Log } from '../base/log.js';
import { PacedLog, type PacedSink } from '../base/paced-log.js';
import type { RequestConfig } from '../config/app-config.js';
import { BodyMemory, bodyMemoryShare } from './body-memory.js';
import type { SendBytes, WidenSocket } from './direct-write.js';
import type { PageSource } from './error-page.js';
import type { SessionSource } from './session-source.js';
import { UpstreamPool } from './upstream.js';

export interface GatewaySettings {
  readonly dataBufferDir: string;
  readonly responseBufferHighWatermark: number;
  readonly showVersionInHeader: boolean;
}

export interface GatewayParts {
  readonly source: SessionSource;
  /** Decodes a settings block; the same bytes give the same object. Throws PassengerError. */
  readonly settings: { get(block: Buffer): RequestConfig };
  readonly log: Log;
  /** Takes what may happen to many requests at once; by default the log. */
  readonly failures?: PacedSink | undefined;
  readonly version: string;
  /** Error pages of apps; without it there is ours alone. */
  readonly pages?: PageSource | undefined;
  /** Bytes for all request bodies together; by default for the only gateway on this machine. */
  readonly bodyMemory?: number;
  /** Absent: all bytes go through the streams of node:net. */
  readonly send?: SendBytes | undefined;
  /** Absent: sockets are as the system makes them. */
  readonly widen?: WidenSocket | undefined;
}

export type CounterName = Exclude<keyof GatewayCounters, 'add'>;

/** Plain counters, for metrics and tests. */
export class GatewayCounters {
  started = 0;
  completed = 0;
  aborted = 0;
  /** Answers that the gateway made itself. */
  errors = 0;
  retries = 0;
  connections = 0;
  /** Open at the moment. */
  tunnels = 0;

  add(other: GatewayCounters): void {
    for (const [name, value] of Object.entries(other) as [CounterName, number][]) this[name] += value;
  }
}

export class Gateway {
  readonly upstreams: UpstreamPool;
  readonly counters = new GatewayCounters();
  readonly source: SessionSource;
  readonly settings: { get(block: Buffer): RequestConfig };
  readonly log: Log;
  /** For what may happen to many requests of an app at once. */
  readonly failures: PacedLog;
  readonly pages: PageSource | undefined;
  readonly bodyMemory: BodyMemory;
  readonly send: SendBytes | undefined;
  readonly widen: WidenSocket | undefined;
  /** Milliseconds, moved on by the listener's sweep: exact enough for limits of seconds, and free. */
  now = 0;
  /** Value of X-Powered-By. */
  poweredBy = '';
  dataBufferDir = '';
  /** Bytes of one answer that may wait for a slow client in a file. */
  responseBufferLimit = 0;
  readonly #version: string;

  constructor(parts: GatewayParts, settings: GatewaySettings) {
    this.source = parts.source;
    this.settings = parts.settings;
    this.log = parts.log;
    this.failures = new PacedLog(parts.failures ?? parts.log, { now: () => this.now });
    this.pages = parts.pages;
    this.bodyMemory = new BodyMemory(parts.bodyMemory ?? bodyMemoryShare(totalmem(), 1));
    this.send = parts.send;
    this.widen = parts.widen;
    this.upstreams = new UpstreamPool(parts.send, parts.widen);
    this.#version = parts.version;
    this.reload(settings);
  }

  reload(settings: GatewaySettings): void {
    this.poweredBy = settings.showVersionInHeader ? `Passenger TS ${this.#version}` : 'Passenger TS';
    this.dataBufferDir = settings.dataBufferDir === '' ? tmpdir() : settings.dataBufferDir;
    this.responseBufferLimit = settings.responseBufferHighWatermark;
  }
}
