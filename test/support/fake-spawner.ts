/**
 * A Spawner without processes: tests say how long a start takes, whether it fails and at which step, what concurrency
 * the app reports, and when a process ends. Time comes from the test's clock.
 */
import type { Clock } from '../../core/base/clock.js';
import { deferred, type Deferred } from '../../core/base/deferred.js';
import { PassengerError } from '../../core/base/errors.js';
import type { AppConfig } from '../../core/config/app-config.js';
import type {
  AppProcessHandle,
  AppReport,
  AppTarget,
  ExitReason,
  Proof,
  SpawnAttempt,
  Spawner,
} from '../../core/spawn/spawner.js';

export interface FakeSpawnerKnobs {
  /** Milliseconds from the order to ready; 0 = with the next promise job; undefined = only by `finish`. */
  delayMs: number | undefined;
  /** Starts fail at this step. */
  failAt: string | undefined;
  concurrency: number;
  /** Each process ends by itself after this time. */
  exitAfterMs: number | undefined;
  /** How long a process takes to exit when asked; Infinity = it ignores all but SIGKILL. */
  exitDelayMs: number;
  /** Whether processes have a loader. */
  reports: boolean;
}

export class FakeProcess implements AppProcessHandle {
  readonly #exited: Deferred<ExitReason> = deferred();
  readonly target: AppTarget;
  readonly key: string;
  readonly startedAt: Date;
  /** What it was told, in order: `shutdown`, `SIGTERM`, `SIGKILL group`. */
  readonly told: string[] = [];
  alive = true;
  reports: boolean;
  lastOutput = '';
  #report: (report: AppReport) => void = () => undefined;

  constructor(
    readonly pid: number,
    readonly config: AppConfig,
    /** Of the code, as the pool gave it. */
    readonly generation: number,
    readonly concurrency: number,
    private readonly knobs: FakeSpawnerKnobs,
    private readonly clock: Clock,
  ) {
    this.key = `p${pid}`;
    this.target = { path: `/apps/${this.key}.sock` };
    this.startedAt = clock.wall();
    this.reports = knobs.reports;
    if (knobs.exitAfterMs !== undefined) clock.setTimeout(() => this.exit({ code: 1 }), knobs.exitAfterMs);
  }

  get exited(): Promise<ExitReason> {
    return this.#exited.promise;
  }

  onReport(listener: (report: AppReport) => void): void {
    this.#report = listener;
  }

  report(report: AppReport): void {
    this.#report(report);
  }

  shutdown(): void {
    this.told.push('shutdown');
    if (this.knobs.exitDelayMs === 0) this.exit({ code: 0 }, true);
    else if (this.knobs.exitDelayMs < Infinity) {
      this.clock.setTimeout(() => this.exit({ code: 0 }, true), this.knobs.exitDelayMs);
    }
  }

  signal(name: 'SIGTERM' | 'SIGKILL' | 'SIGABRT' | 'SIGINT', group: boolean): void {
    this.told.push(group ? `${name} group` : name);
    if (name === 'SIGKILL') this.exit({ signal: name }, true);
  }

  /** Ends the process; what the kernel would do. */
  exit(reason: { code?: number; signal?: string } = { signal: 'SIGKILL' }, expected = false): void {
    if (!this.alive) return;
    this.alive = false;
    this.#exited.resolve({ ...reason, expected });
  }
}

class FakeAttempt implements SpawnAttempt {
  readonly #ready: Deferred<AppProcessHandle> = deferred();
  settled = false;
  /** As long as the test does not give one, the process does not exist yet. */
  pid: number | undefined;
  canceled = false;
  /** It could serve, and has to live for a moment. */
  proving: FakeProcess | undefined;

  constructor(
    readonly id: number,
    private readonly make: () => FakeProcess,
    private readonly clock: Clock,
    private readonly proof: Proof | undefined,
  ) {}

  get ready(): Promise<AppProcessHandle> {
    return this.#ready.promise;
  }

  succeed(): void {
    if (this.settled) return;
    this.settled = true;
    const process = this.make();
    if (this.proof === undefined) this.#ready.resolve(process);
    else this.#prove(process, this.proof);
  }

  /** It exists, and is handed over when it has lived for long enough. */
  #prove(process: FakeProcess, proof: Proof): void {
    this.proving = process;
    queueMicrotask(() => proof.begins());
    this.clock.setTimeout(() => this.hurry(), proof.ms);
    void process.exited.then(() => this.#fails(new PassengerError('PSG6019')));
  }

  hurry(): void {
    if (this.proving === undefined) return;
    this.#ready.resolve(this.proving);
    this.proving = undefined;
  }

  #fails(error: PassengerError): void {
    if (this.proving?.alive === true) this.proving.exit({ signal: 'SIGKILL' }, true);
    this.proving = undefined;
    this.#ready.reject(error);
  }

  fail(step: string): void {
    if (this.settled) return;
    this.settled = true;
    this.#ready.reject(new PassengerError('PSG0001', { step }));
  }

  cancel(): void {
    this.canceled = true;
    if (this.proving === undefined) this.fail('canceled');
    else this.#fails(new PassengerError('PSG0001', { step: 'canceled' }));
  }

  abort(error: PassengerError): void {
    if (this.proving !== undefined) this.#fails(error);
    if (this.settled) return;
    this.settled = true;
    this.#ready.reject(error);
  }
}

export class FakeSpawner implements Spawner {
  readonly knobs: FakeSpawnerKnobs = {
    delayMs: 0,
    failAt: undefined,
    concurrency: 0,
    exitAfterMs: undefined,
    exitDelayMs: 0,
    reports: true,
  };
  /** All starts ever ordered, and all processes that became ready. */
  readonly attempts: FakeAttempt[] = [];
  readonly processes: FakeProcess[] = [];

  constructor(private readonly clock: Clock) {}

  get alive(): FakeProcess[] {
    return this.processes.filter((process) => process.alive);
  }

  /** Starts under way. */
  get pending(): FakeAttempt[] {
    return this.attempts.filter((attempt) => !attempt.settled);
  }

  spawn(config: AppConfig, generation: number, proof?: Proof): SpawnAttempt {
    const id = this.attempts.length + 1;
    const { delayMs, failAt } = this.knobs;
    const attempt = new FakeAttempt(id, () => this.process(config, generation), this.clock, proof);
    this.attempts.push(attempt);
    const finish = (): void => (failAt === undefined ? attempt.succeed() : attempt.fail(failAt));
    if (delayMs === 0) finish();
    else if (delayMs !== undefined) this.clock.setTimeout(finish, delayMs);
    return attempt;
  }

  /** A process that exists without having been ordered, as for adoption. */
  process(config: AppConfig, generation: number): FakeProcess {
    const pid = 1000 + this.processes.length;
    const process = new FakeProcess(pid, config, generation, this.knobs.concurrency, this.knobs, this.clock);
    this.processes.push(process);
    return process;
  }

  /** Ends the oldest start under way. */
  finish(failAt?: string): void {
    const attempt = this.pending[0];
    if (failAt === undefined) attempt?.succeed();
    else attempt?.fail(failAt);
  }
}
