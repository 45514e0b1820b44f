/**
 * One start of an app process, from the decision what it is until it serves or has failed: the only place that writes
 * a journey. Every wait ends with the start timeout, with cancel or with the end of the process, whichever is first,
 * and whatever was started by a failed run is killed. Made by SupervisorSpawner.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import { deferred } from '../base/deferred.js';
import { PassengerError, type Fields } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { AppConfig } from '../config/app-config.js';
import { decideAppType, startupFileBeneath, type AppType } from './app-type.js';
import type { AppMessage } from './control-connection.js';
import { Journey } from './journey.js';
import { launchPlan, type LaunchPlan } from './launch-plan.js';
import { choosePort, ReadinessProbe } from './port-probe.js';
import { ReadyProcess, type SupervisedProcess } from './supervised-process.js';
import type { AppProcessHandle, AppTarget, Proof, SpawnAttempt } from './spawner.js';

/** A process that was asked for and may not exist yet. */
export interface Launch {
  /** Rejects with the supervisor's reason. */
  readonly process: Promise<SupervisedProcess>;
  /** Nobody waits any more: kill it, also if it comes only later. */
  abandon(): void;
}

/** What a run needs of the spawner. */
export interface SpawnHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly timeZone: string | undefined;
  newKey(): string;
  socketPath(key: string): string;
  launch(plan: LaunchPlan, key: string, port: number | undefined): Launch;
}

interface Readiness {
  readonly target: AppTarget;
  readonly concurrency: number;
}

/** Meteor's own proxy and its database take the two ports that follow. */
const PORTS = { command: 1, meteor: 3 } as const;

export class SpawnRun implements SpawnAttempt {
  readonly ready: Promise<AppProcessHandle>;
  readonly #journey: Journey;
  readonly #aborted = deferred<never>();
  readonly #hurried = deferred<void>();
  #launch: Launch | undefined;
  #process: SupervisedProcess | undefined;
  /** What the app said about itself, for the report of a failure. */
  #failure: Extract<AppMessage, { type: 'failed' }> | undefined;
  #note: string | undefined;

  constructor(
    readonly id: number,
    private readonly config: AppConfig,
    private readonly host: SpawnHost,
    private readonly proof: Proof | undefined,
  ) {
    this.#journey = new Journey(host.clock);
    this.#aborted.promise.catch(() => undefined);
    this.ready = this.#run();
  }

  get pid(): number | undefined {
    return this.#process?.facts.pid;
  }

  cancel(): void {
    this.abort(new PassengerError('PSG6008'));
  }

  abort(error: PassengerError): void {
    this.#aborted.reject(error);
  }

  hurry(): void {
    this.#hurried.resolve();
  }

  async #run(): Promise<AppProcessHandle> {
    const timer = this.#startTimer();
    try {
      this.#journey.begin('prepare');
      const type = await this.#startableType();
      const handle = await this.#start(type);
      this.host.clock.clearTimeout(timer);
      await this.#proved();
      this.#journey.finish();
      this.host.log.info('app process is ready', this.#facts());
      return handle;
    } catch (error) {
      this.#journey.fail();
      this.#launch?.abandon();
      if (!(error instanceof PassengerError)) throw error;
      throw new PassengerError(error.code, { ...this.#facts(), ...this.#hints(), ...error.details });
    } finally {
      this.host.clock.clearTimeout(timer);
    }
  }

  #startTimer(): ClockTimer {
    const seconds = this.config.settings.startTimeout;
    return this.host.clock.setTimeout(() => {
      this.#aborted.reject(new PassengerError('PSG6004', { seconds }));
    }, seconds * 1000);
  }

  async #startableType(): Promise<Exclude<AppType, { kind: 'detect' }>> {
    const type = decideAppType(this.config);
    if (type.kind !== 'detect') return type;
    this.#journey.begin('detect');
    const found = startupFileBeneath(this.config.appRoot, await this.#detect(type));
    return { kind: 'node', startupFile: found, meteorBundle: false };
  }

  /** Lets a process of the app's user look for the startup file. */
  async #detect(type: AppType): Promise<string> {
    const process = await this.#launched(type, this.host.newKey(), undefined);
    const answer = deferred<string>();
    process.listen((message) => {
      if (message.type === 'detected') answer.resolve(message.startupFile);
      if (message.type === 'failed') this.#failure = message;
    });
    const file = await this.#within(Promise.race([answer.promise, this.#endOf(process)]));
    await this.#within(process.exited);
    return file;
  }

  async #start(type: Exclude<AppType, { kind: 'detect' }>): Promise<AppProcessHandle> {
    const key = this.host.newKey();
    const port = type.kind === 'node' ? undefined : await this.#within(choosePort(PORTS[type.kind]));
    this.#journey.begin('fork');
    const process = await this.#launched(type, key, port);
    this.#journey.begin('boot');
    const path = this.host.socketPath(key);
    const readiness =
      port === undefined
        ? await this.#untilSaid(process, path)
        : await this.#untilAnswered(process, path, port);
    return new ReadyProcess(process, readiness.target, readiness.concurrency);
  }

  async #launched(type: AppType, key: string, port: number | undefined): Promise<SupervisedProcess> {
    const { timeZone } = this.host;
    const socketPath = this.host.socketPath(key);
    this.#launch = this.host.launch(launchPlan(this.config, type, { socketPath, port, timeZone }), key, port);
    this.#process = await this.#within(this.#launch.process);
    return this.#process;
  }

  /** For Node apps: the loader tells. */
  #untilSaid(process: SupervisedProcess, path: string): Promise<Readiness> {
    const said = deferred<Readiness>();
    process.listen((message) => {
      if (message.type === 'ready') said.resolve({ target: { path }, concurrency: message.concurrency });
      else this.#heard(message);
    });
    return this.#within(Promise.race([said.promise, this.#endOf(process)]));
  }

  /** For any other program: it answers on its port or on the inherited socket. */
  async #untilAnswered(process: SupervisedProcess, path: string, port: number): Promise<Readiness> {
    this.#journey.begin('loading');
    const probe = new ReadinessProbe(path, port);
    try {
      const target = await this.#within(Promise.race([probe.answered, this.#endOf(process)]));
      return { target, concurrency: 0 };
    } finally {
      probe.stop();
    }
  }

  #heard(message: AppMessage): void {
    if (message.type === 'step') this.#journey.begin(message.step);
    if (message.type === 'failed') this.#failure = message;
    // The first note says it; an app could send any number.
    if (message.type !== 'note' || this.#note !== undefined) return;
    this.#note = message.message;
    this.host.log.report('PSG6013', { app: this.config.groupName, note: message.message });
  }

  /** New code often listens and then fails: a database that is away, a file that is not there. */
  async #proved(): Promise<void> {
    const { proof } = this;
    if (proof === undefined || this.#process === undefined) return;
    this.#journey.begin('proving');
    proof.begins();
    const time = deferred<void>();
    const timer = this.host.clock.setTimeout(() => time.resolve(), proof.ms);
    try {
      const proved = Promise.race([time.promise, this.#hurried.promise]);
      await this.#within(Promise.race([proved, this.#endOf(this.#process)]));
    } finally {
      this.host.clock.clearTimeout(timer);
    }
  }

  /** Never resolves; rejects when the process has ended, after its last words. */
  async #endOf(process: SupervisedProcess): Promise<never> {
    const { code, signal } = await process.exited;
    await process.lastWords();
    if (this.#journey.step === 'proving') throw new PassengerError('PSG6019', { exitCode: code, signal });
    const failure = this.#failure;
    if (failure === undefined) throw new PassengerError('PSG6005', { exitCode: code, signal });
    if (process.facts.kind === 'detect') throw new PassengerError('PSG6007', { reason: failure.message });
    const { message, stack } = failure;
    throw new PassengerError('PSG6006', { exception: message, stack, exitCode: code, signal });
  }

  #within<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#aborted.promise]);
  }

  #facts(): Fields {
    return {
      app: this.config.groupName,
      pid: this.#process?.facts.pid,
      ms: this.#journey.totalMs,
      step: this.#journey.step,
      journey: this.#journey.text(),
    };
  }

  #hints(): Fields {
    const lastOutput = this.#process?.lastOutput;
    return {
      note: this.#note,
      exception: this.#failure?.message,
      lastOutput: lastOutput === '' ? undefined : lastOutput,
    };
  }
}
