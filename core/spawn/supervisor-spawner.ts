/**
 * Starts app processes through the supervisor, keeps the books of those that run, and takes over those that a core
 * before us has started. The pool sees the Spawner interface; the composition root brings the supervisor's messages.
 */
import { randomBytes, randomInt } from 'node:crypto';
import path from 'node:path';
import type { Clock } from '../base/clock.js';
import { deferred, type Deferred } from '../base/deferred.js';
import { ERROR_CODES, type ErrorCode } from '../base/error-codes.js';
import { errorText, PassengerError } from '../base/errors.js';
import { formatFields, type Log } from '../base/log.js';
import type { AppConfig } from '../config/app-config.js';
import { closeFd } from '../native.js';
import { CHANNEL_LIMIT } from '../supervisor/records.js';
import { META_LIMIT, type Message } from '../supervisor/messages.js';
import type { LaunchPlan } from './launch-plan.js';
import { GroupOutputs } from './group-outputs.js';
import type { LogFileSystem } from './log-file.js';
import type { OutputSink } from './output-log.js';
import {
  decodeProcessRecord,
  encodeProcessRecord,
  notAdoptable,
  type ProcessRecord,
} from './process-record.js';
import { SpawnRun, type Launch } from './spawn-run.js';
import { openStreams, ReadyProcess, SupervisedProcess, type ProcessFacts } from './supervised-process.js';
import type { AppProcessHandle, AppTarget, Proof, SpawnAttempt, Spawner } from './spawner.js';
import type { ProcessMessage, SupervisorLink } from './supervisor-channel.js';

export interface SpawnerOptions {
  readonly link: SupervisorLink;
  readonly instanceDir: string;
  /** The error log; lines of apps go there. */
  readonly sink: OutputSink;
  readonly log: Log;
  readonly clock: Clock;
  /** Asked for each line: false with PassengerDisableLogPrefix. */
  readonly prefixed: () => boolean;
  readonly timeZone?: string | undefined;
  /** Opens PassengerAppLogFile as the user of the app. */
  readonly openLogFile: (config: AppConfig) => Promise<number>;
  readonly system: LogFileSystem;
}

/** A process of the core before us, as the pool takes it over. */
export interface AdoptedProcess {
  readonly handle: AppProcessHandle;
  readonly config: AppConfig;
  readonly generation: number;
}

interface Waiting {
  readonly record: ProcessRecord;
  readonly key: string;
  readonly process: Deferred<SupervisedProcess>;
}

/** Room that a SPAWN record needs beside environment and meta. */
const RECORD_RESERVE = 8 * 1024;
/** A loader that is alive and idle answers in a millisecond; a busy app counts as ready. */
const STATE_ANSWER_MS = 2000;
const KILL_AFTER_MS = 10_000;
/** A disk that does not answer must not keep the core from ending. */
const LOGS_WRITTEN_MS = 1000;

export class SupervisorSpawner implements Spawner {
  readonly #waiting = new Map<number, Waiting>();
  readonly #running = new Map<number, SupervisedProcess>();
  /** Processes that could not be adopted and have not been reaped. */
  readonly #ending = new Set<number>();
  readonly #outputs: GroupOutputs;
  // Ids of the core before us may still be on the way.
  #nextId = randomInt(1, 2 ** 30);

  constructor(private readonly options: SpawnerOptions) {
    this.#outputs = new GroupOutputs(options);
  }

  /** Processes between exec and reaping. */
  get size(): number {
    return this.#running.size;
  }

  spawn(config: AppConfig, generation: number, proof?: Proof): SpawnAttempt {
    const { clock, log, timeZone } = this.options;
    const output = this.#outputs.acquire(config);
    const host = {
      clock,
      log,
      timeZone,
      newKey: () => randomBytes(8).toString('hex'),
      socketPath: (key: string) => this.#socketPath(key),
      launch: (plan: LaunchPlan, key: string, port: number | undefined) =>
        this.#launch(plan, key, { port, config, generation }),
    };
    const run = new SpawnRun(this.#newId(), config, host, proof);
    run.ready
      .catch((error: unknown) => output.remark(failureText(error)))
      .finally(() => this.#outputs.release(config))
      .catch(() => undefined);
    return run;
  }

  /** At a reload: log files of apps that were moved away are left. */
  reopenLogs(): void {
    this.#outputs.reopen();
  }

  /** Resolves when all lines of apps are in their files, or after a short while. */
  async logsWritten(): Promise<void> {
    const soon = new Promise<void>((resolve) => this.options.clock.setTimeout(resolve, LOGS_WRITTEN_MS));
    await Promise.race([this.#outputs.idle(), soon]);
  }

  /** A message of the supervisor about a process; `fds` are ours. */
  handle(message: ProcessMessage, fds: readonly number[]): void {
    switch (message.type) {
      case 'SPAWNED':
        return this.#spawned(message, fds);
      case 'SPAWN_FAILED':
        return this.#spawnFailed(message);
      case 'EXITED':
        this.#running.get(message.pid)?.reaped(message.code, message.signal);
        this.#running.delete(message.pid);
        this.#ending.delete(message.pid);
    }
  }

  /**
   * Takes over a process that runs already. One that was still starting or is ending is ended.
   * @param fds stdout, stderr, control; owned by us from now on, also when this fails
   * @throws PassengerError PSG6014
   */
  async adopt(message: Message<'ADOPT'>, fds: readonly number[]): Promise<AdoptedProcess> {
    const { pid, key } = message;
    try {
      const record = readRecord(message, fds);
      const process = this.#take(
        { pid, key, kind: record.kind, startedAt: new Date(record.startedAt) },
        record,
        fds,
      );
      await this.#mustServe(process);
      const handle = new ReadyProcess(process, this.#adoptedTarget(key, record), 0);
      return { handle, config: record.config, generation: record.generation };
    } catch (error) {
      this.#end(pid);
      throw error;
    }
  }

  #newId(): number {
    this.#nextId += 1;
    return this.#nextId;
  }

  #socketPath(key: string): string {
    return path.join(this.options.instanceDir, 'apps', `${key}.sock`);
  }

  #launch(
    plan: LaunchPlan,
    key: string,
    facts: Pick<ProcessRecord, 'port' | 'config' | 'generation'>,
  ): Launch {
    const id = this.#newId();
    const startedAt = this.options.clock.wall().getTime();
    const record: ProcessRecord = { kind: plan.kind, startedAt, ...facts };
    const waiting: Waiting = { record, key, process: deferred() };
    this.#sendSpawn(id, plan, waiting);
    this.#waiting.set(id, waiting);
    waiting.process.promise.catch(() => undefined);
    return { process: waiting.process.promise, abandon: () => this.#abandon(waiting) };
  }

  #sendSpawn(spawnId: number, plan: LaunchPlan, { key, record }: Waiting): void {
    const used = textBytes([...plan.env, ...plan.winningEnv, plan.startCommand, plan.appRoot]);
    const room = CHANNEL_LIMIT - RECORD_RESERVE - used;
    const meta = encodeProcessRecord(record, Math.min(META_LIMIT, room));
    if (meta.length > room) {
      throw new PassengerError('PSG6015', { app: record.config.groupName, bytes: used });
    }
    this.options.link.send({ type: 'SPAWN', spawnId, key, meta, ...plan });
  }

  #abandon(waiting: Waiting): void {
    void waiting.process.promise.then(
      (process) => process.signal('SIGKILL', true),
      () => undefined,
    );
  }

  #spawned({ spawnId, pid }: Message<'SPAWNED'>, fds: readonly number[]): void {
    const waiting = this.#waiting.get(spawnId);
    this.#waiting.delete(spawnId);
    // An answer to nobody: a core before us asked. ADOPT would have brought the process.
    if (waiting === undefined) {
      fds.forEach(closeFd);
      return;
    }
    const { key, record } = waiting;
    const facts = { pid, key, kind: record.kind, startedAt: new Date(record.startedAt) };
    waiting.process.resolve(this.#take(facts, record, fds));
  }

  #spawnFailed({ spawnId, code, step, errno, detail }: Message<'SPAWN_FAILED'>): void {
    const waiting = this.#waiting.get(spawnId);
    this.#waiting.delete(spawnId);
    const known = code in ERROR_CODES ? (code as ErrorCode) : 'PSG6012';
    waiting?.process.reject(new PassengerError(known, { failedStep: step, errno, detail }));
  }

  #take(facts: ProcessFacts, record: ProcessRecord, fds: readonly number[]): SupervisedProcess {
    const streams = openStreams(fds);
    if (streams === undefined) throw notAdoptable(facts.pid, 'no descriptors');
    const { link, clock, log } = this.options;
    const output = this.#outputs.acquire(record.config);
    const process = new SupervisedProcess(facts, streams, { link, clock, log, output });
    this.#running.set(facts.pid, process);
    void process.silent.then(() => this.#outputs.release(record.config));
    return process;
  }

  #adoptedTarget(key: string, { port }: ProcessRecord): AppTarget {
    return port === undefined ? { path: this.#socketPath(key) } : { host: '127.0.0.1', port };
  }

  /** Only a loader can say that it does not serve yet or no more; silence counts as busy. */
  async #mustServe(process: SupervisedProcess): Promise<void> {
    const { kind, pid } = process.facts;
    if (kind === 'detect') throw notAdoptable(pid, 'was only looking for a file');
    if (kind !== 'node') return;
    const answer = deferred<string>();
    process.listen((message) => {
      if (message.type === 'state') answer.resolve(message.state);
    });
    const timer = this.options.clock.setTimeout(() => answer.resolve('ready'), STATE_ANSWER_MS);
    process.askState();
    const state = await answer.promise;
    this.options.clock.clearTimeout(timer);
    if (state !== 'ready') throw notAdoptable(pid, `it is ${state}`);
  }

  #end(pid: number): void {
    const { link, clock } = this.options;
    this.#ending.add(pid);
    link.send({ type: 'SIGNAL', pid, signal: 'SIGTERM', group: 0 });
    const kill = (): void => {
      if (this.#ending.has(pid)) link.send({ type: 'SIGNAL', pid, signal: 'SIGKILL', group: 1 });
    };
    clock.setTimeout(kill, KILL_AFTER_MS);
  }
}

function readRecord({ meta, pid }: Message<'ADOPT'>, fds: readonly number[]): ProcessRecord {
  try {
    return decodeProcessRecord(meta, pid);
  } catch (error) {
    fds.forEach(closeFd);
    throw error;
  }
}

/** Everything about a failed start, for the app's own log; its output stands there already. */
function failureText(error: unknown): string {
  if (!(error instanceof PassengerError)) return `start failed: ${errorText(error)}`;
  const { app, lastOutput, stack, exception, ...fields } = error.details;
  const told = stack ?? exception;
  const start = `start of ${String(app)} failed: ${error.message}${formatFields(fields)}`;
  return lastOutput === undefined && told !== undefined ? `${start}\n${String(told)}` : start;
}

function textBytes(texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 8, 0);
}
