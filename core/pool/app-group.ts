/**
 * All processes of one app, the requests that wait for them, and the rules between the two. The pool decides how many
 * processes there may be and asks the group to start or drain them; routing decides which process is best.
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
 */
import type { Clock } from '../base/clock.js';
import type { PassengerError, Fields } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { AppConfig } from '../config/app-config.js';
import type { AppProcessHandle } from '../spawn/spawner.js';
import { Admission, type AdmissionHost } from './admission.js';
import { AppProcess, type ProcessHost, type ProcessState } from './app-process.js';
import { GroupBook } from './books.js';
import { Deployment, type DeploymentHost, type DeploymentState } from './deployment.js';
import type { GroupHost } from './group-host.js';
import { LifeSignsWatch } from './life-signs.js';
import { groupLimits, poolLimits, type GroupLimits } from './limits.js';
import { Losses } from './losses.js';
import { PacedLog } from '../base/paced-log.js';
import {
  RestartWatch,
  type FileQuestions,
  type Hold,
  type RestartQuestion,
  type WatchOwner,
} from './restart-watch.js';
import type { GroupLoad } from './scaling.js';
import type { Session, StickyWish } from './session.js';
import { Setbacks, startError, type SetbackHost } from './setbacks.js';
import { Slots, type SlotsHost } from './slots.js';
import type { Turn } from './turn.js';
import type { Waiter, WaitingEntry } from './waiting-list.js';
import type { WaitingTotal } from './waiting-total.js';

export class AppGroup
  implements ProcessHost, WatchOwner, AdmissionHost, SetbackHost, DeploymentHost, SlotsHost
{
  readonly key: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly turn: Turn;
  readonly files: FileQuestions;
  readonly createdAt: Date;
  readonly book = new GroupBook();
  /** All that have not exited. */
  readonly members = new Set<AppProcess>();
  readonly slots: Slots;
  readonly #admission: Admission;
  readonly #setbacks: Setbacks;
  readonly #deployment: Deployment;
  readonly #watch: RestartWatch;
  readonly #lookFailures: PacedLog;
  readonly losses: Losses;
  readonly lifeSigns: LifeSignsWatch;
  #config: AppConfig;
  #limits: GroupLimits;
  #serving: AppProcess[] = [];
  #code: number;
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
    this.createdAt = host.clock.wall();
    this.confirmed = this.redeployed = generation;
    this.#code = code;
    this.#config = config;
    this.#limits = groupLimits(config, host.server);
    this.book.lastRequest = host.clock.now();
    this.#setbacks = new Setbacks(this, host.random);
    this.losses = new Losses(this, this.#setbacks);
    this.lifeSigns = new LifeSignsWatch(this, this.losses);
    this.#deployment = new Deployment(this);
    this.slots = new Slots(this, (candidates) => host.choose(candidates));
    this.#admission = new Admission(this);
    this.#lookFailures = new PacedLog(this.log, host.clock);
    this.#watch = new RestartWatch(this);
    this.#watch.open();
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
  /** Another array after each change. */
  get serving(): readonly AppProcess[] {
    return this.#serving;
  }
  get code(): number {
    return this.#code;
  }
  get starting(): number {
    let count = 0;
    for (const process of this.members) if (process.state === 'starting') count += 1;
    return count;
  }
  get held(): number {
    return this.#admission.held;
  }
  /** Those who wait for a process. */
  get queue(): Admission['queue'] {
    return this.#admission.queue;
  }
  get retired(): boolean {
    return this.#retired;
  }
  /** Why the last process ended by itself, or was not started; undefined since one has become ready. */
  get failure(): PassengerError | undefined {
    return this.#setbacks.failure;
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
  get waitingTotal(): WaitingTotal {
    return this.host.waitingTotal;
  }
  get awake(): boolean {
    return this.members.size > 0 || this.paused;
  }
  get watched(): { appRoot: string; directory: string; throttleMs: number } {
    return {
      appRoot: this.#config.appRoot,
      directory: this.#limits.restartDir,
      throttleMs: this.#throttleMs,
    };
  }
  get #throttleMs(): number {
    return poolLimits(this.host.server).statThrottleMs;
  }
  get paused(): boolean {
    return this.#setbacks.paused;
  }
  /** Milliseconds until processes may be started again. */
  pauseLeftMs(now: number): number {
    return this.paused ? Math.max(0, this.#setbacks.until - now) : 0;
  }
  /** Whether the first process of its code is still starting. */
  get restarting(): boolean {
    return this.#deployment.trying || (this.#serving.length === 0 && this.starting > 0);
  }
  get deployment(): DeploymentState {
    return this.#deployment.state;
  }
  /** Why the old code goes on serving although it should have been replaced. */
  get deploymentFailure(): PassengerError | undefined {
    return this.#deployment.failure;
  }
  /** Processes that serve and are to be replaced. */
  get worn(): readonly AppProcess[] {
    return this.#deployment.worn;
  }
  /** Ready processes that do not leave for being idle: all, as long as nobody knows whether others would start. */
  get kept(): number {
    return this.#deployment.unproven ? this.#serving.length : this.#limits.minInstances;
  }

  // --- requests

  /** The fast way: a session at once, or undefined when the request has to look for one by `enter`. */
  take(now: number, sticky?: StickyWish): Session | undefined {
    this.book.lastRequest = now;
    // Who waits is served first; a slot may be free all the same, when the news of another thread is on the way.
    if (!this.#watch.clear(now) || this.queue.size > 0) return undefined;
    return this.slots.open(now, sticky);
  }

  /** The slow way: the request waits for a look, for a process, or gets the reason why not. */
  enter(waiter: Waiter, maxQueueTimeMs: number, now: number, sticky?: StickyWish): WaitingEntry {
    return this.#admission.enter(waiter, maxQueueTimeMs, now, sticky);
  }

  /** Whoever waited for a process that has left may be served by another. */
  dispatch(): void {
    this.#admission.dispatch();
  }

  sessionClosed(process: AppProcess): void {
    process.closeSession(this.clock.now());
    this.sessionsFell(process);
  }

  /** A process has one session less. Gateway threads have this told only when somebody may be interested. */
  sessionsFell(process: AppProcess): void {
    const idle = process.sessions === 0;
    if (process.state === 'ready') {
      const { reached, idleWanted } = process.book;
      if (!reached && this.queue.size === 0 && !(idle && idleWanted)) return;
      this.turn.run(() => {
        if (reached) this.#spent(process);
        this.#admission.dispatch();
        if (process.sessions === 0) this.host.processIdle(this, process);
      });
    } else if (process.state === 'draining' && idle) {
      this.turn.run(() => process.stop('requests finished'));
    }
  }

  /**
   * It has finished as many requests as it may: it is replaced ahead of time, so that nobody waits. Should it have
   * finished twice as many before its substitute is ready, it goes without one, if others can be started.
   */
  #spent(process: AppProcess): void {
    const { maxRequests } = this.#limits;
    const twice = process.processed >= 2 * maxRequests;
    process.book.tellAt = maxRequests === 0 ? 0 : process.book.tellAt + maxRequests;
    if (maxRequests === 0) return;
    this.replace(process, 'PassengerMaxRequests');
    if (twice && !this.paused && !this.#deployment.unproven) process.drain('twice PassengerMaxRequests');
  }

  waitingChanged(count: number): void {
    this.book.waiting = count;
  }

  watchMoved(): void {
    this.book.clearUntil = this.#watch.clearUntil;
  }

  failureNow(): PassengerError | undefined {
    const nothing = this.#serving.length === 0 && this.starting === 0;
    return nothing && this.paused ? this.failure : undefined;
  }

  ask(now: number): Hold {
    return this.#watch.ask(now);
  }

  lookAgain(): void {
    this.#watch.again();
  }

  needsChanged(): void {
    this.host.needsChanged(this);
  }

  failAll(error: PassengerError): void {
    this.#admission.failAll(error);
  }

  // --- processes

  load(): GroupLoad {
    const deployment = this.#deployment;
    const worn = deployment.worn.length;
    return {
      minInstances: this.#limits.minInstances,
      maxInstances: this.#limits.maxInstances,
      ready: this.#serving.length - worn,
      worn,
      starting: this.starting,
      ahead: deployment.underWay,
      substitutes: this.paused ? 0 : deployment.wanted,
      unproven: deployment.unproven,
      waiting: this.queue.anyone.size,
      concurrency: this.#serving[0]?.concurrency ?? this.#limits.forcedConcurrency,
      allBusy: this.#serving.length > 0 && this.slots.best() === undefined,
      saturated: this.#saturated,
      paused: this.paused,
    };
  }

  start(): void {
    this.#start(false);
  }

  /** Starts a substitute for a worn process. */
  startAhead(): void {
    this.#start(true);
  }

  /** Whether the event loops of all processes are full (load.ts); holds until a process is started. */
  setSaturated(on: boolean): void {
    if (on === this.#saturated) return;
    this.#saturated = on;
    this.needsChanged();
  }

  #start(ahead: boolean): void {
    this.#saturated = false;
    const attempt = this.host.spawner.spawn(this.#config, this.#code);
    const process = new AppProcess(this.#code, ahead, this, attempt);
    this.#join(process);
    attempt.ready.then(
      (handle) => this.turn.run(() => this.#started(process, handle)),
      (error: unknown) => this.turn.run(() => this.#startFailed(process, error)),
    );
  }

  /** A process that an earlier core has started. */
  adopt(handle: AppProcessHandle, code: number): void {
    this.#code = Math.max(this.#code, code);
    const process = new AppProcess(code, false, this);
    this.#join(process);
    this.#hear(process, handle);
    process.becomeReady(handle, 'adopted');
    this.lifeSigns.watch(process);
    this.#serving = [...this.#serving, process];
    this.#admission.dispatch();
  }

  /** All processes of an earlier core have been adopted. */
  adoptionOver(): void {
    this.#deployment.survey();
  }

  /**
   * This process has become a burden: it goes when another one is ready to take its place, and serves until then.
   * Nothing happens when it is leaving already, or is about to be replaced.
   */
  replace(process: AppProcess, reason: string): void {
    this.turn.run(() => {
      this.#deployment.wear(process, reason);
      this.needsChanged();
    });
  }

  #join(process: AppProcess): void {
    this.members.add(process);
    this.#watch.wake();
    this.host.processMoved(this, process, 'exited', 'starting');
  }

  #hear(process: AppProcess, handle: AppProcessHandle): void {
    void handle.exited.then((reason) => this.turn.run(() => this.losses.exited(process, reason)));
    handle.onReport((report) => process.hear(report));
  }

  #started(process: AppProcess, handle: AppProcessHandle): void {
    this.#hear(process, handle);
    if (process.state !== 'starting') {
      process.readyTooLate(handle);
      return;
    }
    process.becomeReady(handle, 'started');
    this.#setbacks.started();
    this.lifeSigns.watch(process);
    this.#serving = [...this.#serving, process];
    this.#deployment.arrived(process)?.drain('its substitute is ready');
    this.#admission.dispatch();
  }

  #startFailed(process: AppProcess, error: unknown): void {
    const canceled = process.state === 'stopping';
    process.ended(canceled ? 'start canceled' : 'start failed');
    if (canceled) return;
    const failure = startError(error);
    const verdict = this.#deployment.startFailed(process, failure);
    if (verdict === 'resist') return;
    if (verdict === 'give up') for (const old of [...this.#serving]) old.drain('the new code does not start');
    this.#setbacks.startFailed(failure);
  }

  /** Rule 7, and the end of the pause. */
  pauseMoved(): void {
    if (this.paused) this.#failWaiting();
    else this.needsChanged();
  }

  #failWaiting(): void {
    const failure = this.failureNow();
    if (failure !== undefined) this.#admission.failQueue(failure);
  }

  processMoved(process: AppProcess, from: ProcessState, to: ProcessState): void {
    if (from === 'ready') {
      this.#serving = this.#serving.filter((other) => other !== process);
      this.#admission.release(process);
      this.#deployment.departed();
      this.lifeSigns.forget(process);
    }
    if (to === 'exited') this.members.delete(process);
    if (to === 'draining') this.turn.tell(() => process.tellDraining());
    this.#failWaiting();
    this.host.processMoved(this, process, from, to);
  }

  drainEnded(process: AppProcess): void {
    this.turn.run(() => process.stop('drain timeout'));
  }

  // --- restart, redeploy, end

  /**
   * New code at the wish of somebody. By default as Passenger's: new requests wait for the new code, old ones finish
   * with the old. With rolling restarts old processes serve until they are replaced. Starts under way are canceled:
   * they may hang because of what has been mended.
   */
  restart(reason: string): void {
    this.log.notice('app restarts', { reason });
    const { rollingRestarts, resistErrors } = this.#limits;
    const rolling = rollingRestarts && this.#serving.length > 0;
    this.#newCode();
    if (rolling) this.#deployment.begin(reason, resistErrors ? 'resist' : 'give up');
    for (const process of [...this.members]) {
      if (!rolling || process.state === 'starting') process.drain('restart');
    }
  }

  /** New code in the background: what runs goes on serving until it is replaced one by one. */
  redeploy(reason: string): void {
    this.log.notice('app is redeployed', { reason });
    this.#newCode();
    this.#deployment.begin(reason);
  }

  #newCode(): void {
    this.#code += 1;
    this.#setbacks.reset();
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
    this.watchMoved();
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
    this.#watch.close();
    this.#setbacks.close();
  }

  lookEnded(cause: RestartQuestion | undefined): boolean {
    return this.turn.run(() => {
      // While a restart runs, the files count later: the new code may have been read already.
      const acts = cause !== undefined && !this.restarting && !this.#retired;
      if (acts) this.restart(cause);
      this.#admission.releaseHeld();
      return acts;
    });
  }

  lookOverdue(): void {
    this.turn.run(() => {
      this.#admission.releaseAll();
    });
  }

  lookFailed(fields: Fields): void {
    this.#lookFailures.report('PSG5009', { ...fields, directory: this.#limits.restartDir });
  }
}
