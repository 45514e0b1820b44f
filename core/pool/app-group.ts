/**
 * All processes of one app, the requests that wait for them, and the rules between the two. The pool decides how many
 * processes there may be and asks the group to start or drain them; routing decides which process is best. Here its
 * parts come together, and here stand its settings and its end: requests and their sessions are in group-requests.ts,
 * starts and ends of processes in group-processes.ts, restarts and redeploys in group-code.ts.
 *
 * Rules (executed by invariants.ts):
 *  1. `serving` is exactly the ready processes; only they get sessions.
 *  2. Safety: if requests wait for whatever process is free, none has a free slot; if they wait for one process alone
 *     (sticky sessions), that one serves and has none.
 *  3. Progress: if requests wait, a process serves, or one is starting, or the pool knows that the group starves.
 *  4. A request is held back only while a look at the restart files is under way, at most for a second.
 *  5. A draining process has open sessions; without any it is stopped at once.
 *  6. Ready processes run the current code, except those that are about to be replaced (deployment.ts).
 *  7. While a pause after failures lasts and nothing runs, nobody waits: everybody gets the stored error.
 *  8. No more processes serve than PassengerMaxInstances allows, also when a reload has lowered it.
 */
import type { Clock } from '../base/clock.js';
import type { PassengerError } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { AppConfig } from '../config/app-config.js';
import type { AppProcessHandle } from '../spawn/spawner.js';
import type { AppProcess, ProcessState } from './app-process.js';
import { GroupBook } from './books.js';
import type { DeploymentState } from './deployment.js';
import { GroupCode, type GroupCodeHost } from './group-code.js';
import type { GroupHost } from './group-host.js';
import { GroupProcesses, type GroupProcessesHost } from './group-processes.js';
import { GroupRequests, type GroupRequestsHost } from './group-requests.js';
import type { LifeSignsWatch } from './life-signs.js';
import { groupLimits, poolLimits, type GroupLimits } from './limits.js';
import type { Losses } from './losses.js';
import type { RestartRounds } from './restart-rounds.js';
import type { FileQuestions } from './restart-watch.js';
import type { GroupLoad } from './scaling.js';
import type { SilenceWatch } from './silence-watch.js';
import type { Turn } from './turn.js';
import type { WaitingTotal } from './waiting-total.js';

export class AppGroup implements GroupRequestsHost, GroupProcessesHost, GroupCodeHost {
  readonly key: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly turn: Turn;
  readonly files: FileQuestions;
  readonly rounds: RestartRounds;
  readonly silence: SilenceWatch;
  readonly createdAt: Date;
  readonly book = new GroupBook();
  readonly requests: GroupRequests;
  readonly #code: GroupCode;
  readonly #processes: GroupProcesses;
  #config: AppConfig;
  #limits: GroupLimits;
  #retired = false;
  #saturated = false;
  /** The generation whose reload it has followed. */
  redeployed: number;

  constructor(
    config: AppConfig,
    generation: number,
    private readonly host: GroupHost,
    /** Of the code; another one than the generation for a group that is adopted. */
    code = generation,
  ) {
    this.key = config.groupKey;
    this.clock = host.clock;
    this.log = host.log.child({ app: config.groupName });
    this.turn = host.turn;
    this.files = host.files;
    this.rounds = host.rounds;
    this.silence = host.silence;
    this.createdAt = host.clock.wall();
    this.confirmed = this.redeployed = generation;
    this.#config = config;
    this.#limits = groupLimits(config, host.server);
    this.book.lastRequest = host.clock.now();
    this.#code = new GroupCode(this, code);
    this.#processes = new GroupProcesses(this, this.#code.deployment, host.spawner, host.random);
    this.requests = new GroupRequests(this, this.#code.watch);
    this.#code.watch.open();
  }

  get name(): string {
    return this.#config.groupName;
  }
  get config(): AppConfig {
    return this.#config;
  }
  get limits(): GroupLimits {
    return this.#limits;
  }
  get statThrottleMs(): number {
    return poolLimits(this.host.server).statThrottleMs;
  }

  // --- what others see of it

  /** All processes that have not exited. */
  get members(): ReadonlySet<AppProcess> {
    return this.#processes.members;
  }
  /** Another array after each change. */
  get serving(): readonly AppProcess[] {
    return this.#processes.serving;
  }
  get starting(): number {
    return this.#processes.starting;
  }
  get losses(): Losses {
    return this.#processes.losses;
  }
  get lifeSigns(): LifeSignsWatch {
    return this.#processes.lifeSigns;
  }
  get held(): number {
    return this.requests.held;
  }
  /** Those who wait for a process. */
  get queue(): GroupRequests['queue'] {
    return this.requests.queue;
  }
  get waitingTotal(): WaitingTotal {
    return this.host.waitingTotal;
  }
  get lastRequest(): number {
    return this.book.lastRequest;
  }
  /** The last generation whose requests asked for it. */
  get confirmed(): number {
    return this.book.confirmed;
  }
  set confirmed(generation: number) {
    this.book.confirmed = generation;
  }
  get retired(): boolean {
    return this.#retired;
  }
  /** Why the last process ended by itself, or was not started; undefined since one has become ready. */
  get failure(): PassengerError | undefined {
    return this.#processes.setbacks.failure;
  }
  get paused(): boolean {
    return this.#processes.setbacks.paused;
  }
  /** Whether it gets its minimum back however long that takes, although nobody asks: its code has worked. */
  get lasting(): boolean {
    return this.#limits.minInstances > 0 && this.#processes.setbacks.proven;
  }
  /** Milliseconds until processes may be started again. */
  pauseLeftMs(now: number): number {
    return this.paused ? Math.max(0, this.#processes.setbacks.until - now) : 0;
  }
  get awake(): boolean {
    return this.members.size > 0 || this.paused;
  }
  /** Generation of its code. */
  get code(): number {
    return this.#code.code;
  }
  get restarting(): boolean {
    return this.#code.restarting;
  }
  get deployment(): DeploymentState {
    return this.#code.deployment.state;
  }
  /** Why the old code goes on serving although it should have been replaced. */
  get deploymentFailure(): PassengerError | undefined {
    return this.#code.deployment.failure;
  }
  /** Processes that serve and are to be replaced. */
  get worn(): readonly AppProcess[] {
    return this.#code.deployment.worn;
  }
  /** Ready processes that do not leave for being idle: all, as long as nobody knows whether others would start. */
  get kept(): number {
    return this.#code.deployment.unproven ? this.serving.length : this.#limits.minInstances;
  }

  // --- requests

  choose(candidates: readonly AppProcess[]): AppProcess | undefined {
    return this.host.choose(candidates);
  }

  processIdle(process: AppProcess): void {
    this.host.processIdle(this, process);
  }

  /**
   * It has finished as many requests as it may: it is replaced ahead of time, so that nobody waits. Should it have
   * finished twice as many before its substitute is ready, it goes without one, if others can be started.
   */
  processSpent(process: AppProcess): void {
    const { maxRequests } = this.#limits;
    const twice = process.processed >= 2 * maxRequests;
    process.book.tellAt = maxRequests === 0 ? 0 : process.book.tellAt + maxRequests;
    if (maxRequests === 0) return;
    this.replace(process, 'PassengerMaxRequests');
    if (twice && !this.paused && !this.#code.deployment.unproven) {
      process.drain('twice PassengerMaxRequests');
    }
  }

  releaseHeld(): void {
    this.requests.releaseHeld();
  }

  releaseAll(): void {
    this.requests.releaseAll();
  }

  watchMoved(): void {
    this.book.clearUntil = this.#code.watch.clearUntil;
  }

  // --- processes

  /** What the number of its processes depends on. */
  load(): GroupLoad {
    const { deployment } = this.#code;
    const { serving } = this;
    const worn = deployment.worn.length;
    return {
      minInstances: this.#limits.minInstances,
      maxInstances: this.#limits.maxInstances,
      ready: serving.length - worn,
      worn,
      starting: this.starting,
      ahead: deployment.underWay,
      substitutes: this.paused ? 0 : deployment.wanted,
      unproven: deployment.unproven,
      waiting: this.queue.anyone.size,
      concurrency: serving[0]?.concurrency ?? this.#limits.forcedConcurrency,
      allBusy: serving.length > 0 && this.requests.slots.best() === undefined,
      saturated: this.#saturated,
      paused: this.paused,
    };
  }

  needsChanged(): void {
    this.host.needsChanged(this);
  }

  /** Whether the event loops of all processes are full (load.ts); holds until a process is started. */
  setSaturated(on: boolean): void {
    if (on === this.#saturated) return;
    this.#saturated = on;
    this.needsChanged();
  }

  start(): void {
    this.#saturated = false;
    this.#processes.start(this.code, false);
  }

  /** Starts a substitute for a worn process. */
  startAhead(): void {
    this.#saturated = false;
    this.#processes.start(this.code, true);
  }

  /** A process that an earlier core has started. */
  adopt(handle: AppProcessHandle, code: number): void {
    this.#code.adopted(code);
    this.#processes.adopt(handle, code);
  }

  /** All processes of an earlier core have been adopted. */
  adoptionOver(): void {
    this.#code.deployment.survey();
  }

  /**
   * This process has become a burden: it goes when another one is ready to take its place, and serves until then.
   * Nothing happens when it is leaving already, or is about to be replaced.
   */
  replace(process: AppProcess, reason: string): void {
    this.turn.run(() => {
      this.#code.deployment.wear(process, reason);
      this.needsChanged();
    });
  }

  processServes(): void {
    this.requests.dispatch();
  }

  processProves(process: AppProcess): void {
    this.host.processProves(this, process);
  }

  processLeft(process: AppProcess): void {
    this.requests.release(process);
    this.#code.deployment.departed();
  }

  processMoved(process: AppProcess, from: ProcessState, to: ProcessState): void {
    if (to === 'starting') this.#code.watch.wake();
    this.requests.failWaiting();
    this.host.processMoved(this, process, from, to);
  }

  /** Rule 7, and the end of the pause. */
  pauseMoved(): void {
    if (this.paused) this.requests.failWaiting();
    else this.needsChanged();
  }

  // --- code, settings, end

  /** New code at the wish of somebody. */
  restart(reason: string): void {
    this.#code.restart(reason);
  }

  /** New code in the background. */
  redeploy(reason: string): void {
    this.#code.redeploy(reason);
  }

  codeChanged(): void {
    this.#processes.setbacks.reset();
    this.needsChanged();
  }

  /** Another reading of the configuration; applies to processes that start from now on. */
  adoptConfig(config: AppConfig): void {
    this.#config = config;
    this.refreshLimits();
  }

  /** The server's settings have changed. */
  refreshLimits(): void {
    this.#limits = groupLimits(this.#config, this.host.server);
    this.#code.watch.throttleChanged();
    this.needsChanged();
  }

  /** No new processes; those that there are finish their requests and go. */
  retire(reason: string, drainMs?: number, graceMs?: number): void {
    this.#retired = true;
    this.close();
    for (const process of [...this.members]) process.drain(reason, drainMs, graceMs);
  }

  /** Ends its timers; for a group that gets no more requests. */
  close(): void {
    this.#code.watch.close();
    this.#processes.setbacks.close();
  }
}
