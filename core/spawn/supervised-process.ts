/**
 * One process that the supervisor forked for us: its descriptors, its messages, its output and its end. It exists from
 * exec until it has been reaped; ReadyProcess is the face that the pool sees once it serves. Owns its streams.
 */
import net from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import type { Clock } from '../base/clock.js';
import { deferred } from '../base/deferred.js';
import { formatFields, type Log } from '../base/log.js';
import type { SignalName, SpawnKind } from '../supervisor/messages.js';
import { ControlConnection, type AppMessage } from './control-connection.js';
import { LastLines, OutputPump } from './output.js';
import type { OutputLog, OutputStream } from './output-log.js';
import type { AppProcessHandle, AppReport, AppTarget, ExitReason } from './spawner.js';
import type { SupervisorLink } from './supervisor-channel.js';

export interface ProcessStreams {
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly control: Duplex;
}

/** Takes ownership of the descriptors. */
export function openStreams([stdout, stderr, control]: readonly number[]): ProcessStreams | undefined {
  if (stdout === undefined || stderr === undefined || control === undefined) return undefined;
  return {
    stdout: new net.Socket({ fd: stdout, readable: true, writable: false }),
    stderr: new net.Socket({ fd: stderr, readable: true, writable: false }),
    control: new net.Socket({ fd: control, readable: true, writable: true }),
  };
}

export interface ProcessFacts {
  readonly pid: number;
  readonly key: string;
  readonly kind: SpawnKind;
  readonly startedAt: Date;
}

export interface ProcessSurroundings {
  readonly link: SupervisorLink;
  readonly output: OutputLog;
  readonly clock: Clock;
  readonly log: Log;
}

/** How long the last words of a process are waited for; its children may hold the pipes for ever. */
const LAST_WORDS_MS = 250;
const CLOSE_AFTER_MS = 2000;

export class SupervisedProcess {
  readonly exited: Promise<ExitReason>;
  /** Resolves when no line of it can come any more, also none of a child that it left behind. */
  readonly silent: Promise<void>;
  readonly #exit = deferred<ExitReason>();
  readonly #silence = deferred<void>();
  readonly #lines = new LastLines();
  readonly #pumps: readonly OutputPump[];
  readonly #control: ControlConnection;
  readonly #streamsEnded: Promise<unknown>;
  #listener: (message: AppMessage) => void = () => undefined;
  #running = true;
  #askedToEnd = false;

  constructor(
    readonly facts: ProcessFacts,
    streams: ProcessStreams,
    private readonly around: ProcessSurroundings,
  ) {
    this.exited = this.#exit.promise;
    this.silent = this.#silence.promise;
    this.#pumps = [this.#pump('stdout', streams.stdout), this.#pump('stderr', streams.stderr)];
    this.#control = new ControlConnection(streams.control, around.clock, {
      onMessage: (message) => this.#listener(message),
      onViolation: (reason) => around.log.report('PSG6011', { pid: facts.pid, reason }),
    });
    const controlEnded = new Promise<void>((resolve) => streams.control.once('close', resolve));
    this.#streamsEnded = Promise.all([...this.#pumps.map((pump) => pump.ended), controlEnded]);
  }

  /** The last lines of both streams. */
  get lastOutput(): string {
    return this.#lines.text();
  }

  /** One listener at a time; a later one replaces it. */
  listen(listener: (message: AppMessage) => void): void {
    this.#listener = listener;
  }

  /** Resolves when nothing more is to be heard of a process that has exited, or after a short while. */
  async lastWords(): Promise<void> {
    await this.exited;
    const soon = new Promise<void>((resolve) => this.around.clock.setTimeout(resolve, LAST_WORDS_MS));
    await Promise.race([this.#streamsEnded, soon]);
  }

  askState(): void {
    this.#control.send({ type: 'state' });
  }

  /** Asks politely, by what this kind of program understands. */
  shutdown(): void {
    this.#askedToEnd = true;
    if (this.facts.kind === 'node' && this.#control.send({ type: 'shutdown' })) return;
    // `meteor run` ends its app and its database on an interrupt that reaches the whole group.
    if (this.facts.kind === 'meteor') this.signal('SIGINT', true);
    else this.signal('SIGTERM', false);
  }

  signal(name: SignalName, group: boolean): void {
    if (!this.#running) return;
    this.#askedToEnd = true;
    this.around.link.send({ type: 'SIGNAL', pid: this.facts.pid, signal: name, group: group ? 1 : 0 });
  }

  /** The supervisor has reaped the process. */
  reaped(code: number | undefined, signal: string | undefined): void {
    if (!this.#running) return;
    this.#running = false;
    this.#exit.resolve({
      ...(code === undefined ? {} : { code }),
      ...(signal === undefined ? {} : { signal }),
      expected: this.#askedToEnd,
    });
    for (const pump of this.#pumps) pump.hurry();
    void this.lastWords().then(() => this.#said(code, signal));
    this.around.clock.setTimeout(() => this.#close(), CLOSE_AFTER_MS);
  }

  /** Nothing more is to be heard. */
  #said(code: number | undefined, signal: string | undefined): void {
    const { output } = this.around;
    const { pid, kind } = this.facts;
    output.processEnded(pid);
    if (this.#askedToEnd || kind === 'detect') return;
    output.remark(`process ${pid} ended${formatFields({ exitCode: code, signal })}`);
  }

  #close(): void {
    for (const pump of this.#pumps) pump.close();
    this.#control.close();
    this.around.output.processEnded(this.facts.pid);
    this.#silence.resolve();
  }

  #pump(name: OutputStream, stream: Readable): OutputPump {
    const { output, clock } = this.around;
    const { pid } = this.facts;
    return new OutputPump(stream, output, clock, {
      wanted: () => output.room,
      onLine: (line) => {
        this.#lines.add(line);
        output.write(pid, name, line);
      },
      onSkipped: (lines) => output.skipped(pid, lines),
    });
  }
}

/** A process that serves. */
export class ReadyProcess implements AppProcessHandle {
  readonly #listeners: ((report: AppReport) => void)[] = [];

  constructor(
    private readonly process: SupervisedProcess,
    readonly target: AppTarget,
    readonly concurrency: number,
  ) {
    process.listen((message) => {
      if (message.type !== 'report') return;
      for (const listener of this.#listeners) listener(message);
    });
  }

  get pid(): number {
    return this.process.facts.pid;
  }

  get key(): string {
    return this.process.facts.key;
  }

  get startedAt(): Date {
    return this.process.facts.startedAt;
  }

  get lastOutput(): string {
    return this.process.lastOutput;
  }

  get reports(): boolean {
    return this.process.facts.kind === 'node';
  }

  get exited(): Promise<ExitReason> {
    return this.process.exited;
  }

  onReport(listener: (report: AppReport) => void): void {
    this.#listeners.push(listener);
  }

  shutdown(): void {
    this.process.shutdown();
  }

  signal(name: SignalName, group: boolean): void {
    this.process.signal(name, group);
  }
}
