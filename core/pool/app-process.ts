/**
 * One app process in the pool's books, from the wish to start it until it has been reaped: its state, its open
 * sessions, and the clockwork that ends it. It decides nothing about when it starts or goes; its group does.
 * A group outlives its processes; a process outlives its sessions, except that one which has died leaves the group
 * while the gateway still closes the sessions that it held.
 */
import assert from 'node:assert';
import { createHash } from 'node:crypto';
import type { Clock, ClockTimer } from '../base/clock.js';
import type { PassengerError } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { StateMachine, type TransitionTable } from '../base/state-machine.js';
import type { AppProcessHandle, AppReport, AppTarget, ExitReason, SpawnAttempt } from '../spawn/spawner.js';
import { ProcessBook, type GroupBook } from './books.js';
import type { GroupLimits } from './limits.js';
import { LoopLoad } from './load.js';
import type { ProcessView } from './session.js';

/**
 * starting: it has been ordered and is not ready yet;
 * ready: it takes sessions;
 * draining: it takes no new sessions and finishes those it has;
 * stopping: it has been asked to exit, or its start has been canceled;
 * exited: it is gone.
 */
export type ProcessState = 'starting' | 'ready' | 'draining' | 'stopping' | 'exited';

export const PROCESS_TRANSITIONS: TransitionTable<ProcessState> = {
  starting: ['ready', 'stopping', 'exited'],
  ready: ['draining', 'exited'],
  draining: ['stopping', 'exited'],
  stopping: ['exited'],
  exited: [],
};

/** Whether a process in this state counts for MaxPoolSize and MaxInstances. One that leaves has made room. */
export function occupies(state: ProcessState): boolean {
  return state === 'starting' || state === 'ready';
}

/** What a process needs of its surroundings. */
export interface ProcessHost {
  readonly clock: Clock;
  readonly log: Log;
  /** Of the group, as they are now. */
  readonly limits: GroupLimits;
  readonly book: GroupBook;
  processMoved(process: AppProcess, from: ProcessState, to: ProcessState): void;
  /** The drain timer has run out; the process is about to be stopped. */
  drainEnded(process: AppProcess): void;
}

/** SIGKILL is repeated at this distance until the process is reaped. */
const KILL_AGAIN_MS = 5000;

export class AppProcess implements ProcessView {
  readonly #machine: StateMachine<ProcessState>;
  #handle: AppProcessHandle | undefined;
  #timer: ClockTimer | undefined;
  /** Shortens the polite stop when the whole pool stops. */
  #graceMs = Infinity;
  #drainDue = Infinity;
  #stickyId = '';
  #readyAt: number | undefined;
  readonly #drainListeners = new Set<() => void>();
  readonly loop = new LoopLoad();
  /** Why it is to be replaced although its code is not old; written by deployment.ts. */
  wornBy: string | undefined;
  #report: AppReport = {};
  #lastReport = 0;
  /** Its sessions; threads may count in it, too. */
  readonly book: ProcessBook;
  readonly orderedAt: Date;

  /**
   * @param code generation of the group's code that it runs
   * @param ahead whether it is a substitute: started to take the place of one that still serves
   */
  constructor(
    readonly code: number,
    readonly ahead: boolean,
    private readonly host: ProcessHost,
    private readonly attempt?: SpawnAttempt,
  ) {
    this.book = new ProcessBook(host.book);
    this.book.lastUsed = host.clock.now();
    this.orderedAt = host.clock.wall();
    this.#machine = new StateMachine<ProcessState>(
      PROCESS_TRANSITIONS,
      'starting',
      host.clock,
      ({ from, to, reason, tookMs }) => {
        host.log.info('app process changes state', {
          pid: this.#handle?.pid,
          from,
          to,
          reason,
          tookMs: Math.round(tookMs),
        });
        host.processMoved(this, from, to);
      },
    );
  }

  get state(): ProcessState {
    return this.#machine.state;
  }
  /** The last one of its loader. */
  get report(): AppReport {
    return this.#report;
  }
  /** 0 while it has none. */
  get pid(): number {
    return this.#handle?.pid ?? 0;
  }
  /** Also of one that still starts; 0 while the system has none. */
  get systemPid(): number {
    return this.#handle?.pid ?? this.attempt?.pid ?? 0;
  }
  get key(): string {
    return this.#handle?.key ?? '';
  }
  /** Derived from the key, so that it is the same after an adoption; the key itself names the socket. */
  get stickyId(): string {
    return this.#stickyId;
  }
  get target(): AppTarget {
    assert(this.#handle !== undefined, 'only a process that was ready has a target');
    return this.#handle.target;
  }
  get concurrency(): number {
    return this.book.concurrency;
  }
  get sessions(): number {
    return this.book.sessions;
  }
  /** It can take no more sessions for now; never with unlimited concurrency. */
  get full(): boolean {
    return this.concurrency > 0 && this.sessions >= this.concurrency;
  }
  /** It takes no sessions any more, in whatever state it is. */
  get closed(): boolean {
    return this.book.closed;
  }
  /** It stands still, as far as we know. */
  get suspect(): boolean {
    return this.book.suspect;
  }
  /** The last lines that it has said. */
  get lastOutput(): string {
    return this.#handle?.lastOutput ?? '';
  }
  /** Sessions that were closed. */
  get processed(): number {
    return this.book.processed;
  }
  /** Grows with each session of the group; says who was used least recently. */
  get turn(): number {
    return this.book.turn;
  }
  get lastUsed(): number {
    return this.book.lastUsed;
  }
  get startedAt(): Date | undefined {
    return this.#handle?.startedAt;
  }

  /** Whether it has a loader that reports. */
  get reports(): boolean {
    return this.#handle?.reports === true;
  }
  /** When it reported last, or became ready, on the monotonic clock. */
  get lastReport(): number {
    return this.#lastReport;
  }

  hear(report: AppReport): void {
    this.#report = report;
    this.#lastReport = this.host.clock.now();
    this.loop.note(report.elu, this.#lastReport);
    if (this.book.suspect) this.book.suspect = false;
  }

  /** Milliseconds since it became ready; 0 before. */
  livedMs(now: number): number {
    return this.#readyAt === undefined ? 0 : now - this.#readyAt;
  }

  becomeReady(handle: AppProcessHandle, reason: string): void {
    const { limits, clock } = this.host;
    this.#handle = handle;
    this.#stickyId = stickyIdOf(handle.key);
    this.book.begin(limits.forcedConcurrency ?? Math.max(0, handle.concurrency));
    this.book.tellAt = limits.maxRequests;
    this.#readyAt = this.book.lastUsed = this.#lastReport = clock.now();
    if (handle.reports) this.loop.expect(this.#readyAt);
    this.#machine.transition('ready', reason);
  }

  /** @returns false when another thread was faster */
  openSession(now: number): boolean {
    assert(this.state === 'ready', 'only a ready process takes sessions');
    return this.book.take(now);
  }

  closeSession(now: number): void {
    this.book.giveBack(now);
  }

  /**
   * Tells once, after the change, that it begins to drain; at once, after the caller has returned, when it does not serve
   * any more. Returns what ends the listening.
   */
  onDrain(listener: () => void): () => void {
    if (this.state === 'ready') this.#drainListeners.add(listener);
    else queueMicrotask(listener);
    return () => this.#drainListeners.delete(listener);
  }

  /** Called by the group when its books are complete. */
  tellDraining(): void {
    for (const listener of [...this.#drainListeners]) listener();
    this.#drainListeners.clear();
  }

  /** No new sessions; when the old ones are done, or their time is up, it is stopped. Cancels a start. */
  drain(reason: string, drainMs = this.host.limits.drainTimeoutMs, graceMs = Infinity): void {
    this.#graceMs = Math.min(this.#graceMs, graceMs);
    // Closed before the sessions are counted: from here on they only become fewer.
    this.book.close();
    if (this.state === 'starting') {
      this.#machine.transition('stopping', reason);
      this.attempt?.cancel();
      return;
    }
    if (this.state === 'ready') this.#machine.transition('draining', reason);
    if (this.state !== 'draining') return;
    if (this.sessions === 0) this.stop('nothing left to finish');
    else this.#drainUntil(this.host.clock.now() + drainMs);
  }

  /** Asks it to exit; SIGTERM at half of the grace, SIGKILL to its group at the end. Only from draining. */
  stop(reason: string): void {
    this.#machine.transition('stopping', reason);
    this.#askToExit();
  }

  /** It is needed at once. */
  hurry(): void {
    if (this.state === 'starting') this.attempt?.hurry();
  }

  /** A start that had been canceled succeeded all the same. */
  readyTooLate(handle: AppProcessHandle): void {
    assert(this.state === 'stopping', 'only a canceled start is too late');
    this.#handle = handle;
    this.#askToExit();
  }

  /** The process is gone, or has never come to be. */
  ended(reason: string): void {
    this.#disarm();
    this.book.close();
    this.#machine.transition('exited', reason);
  }

  /** It must not go on: a start fails with this error, anything else is killed. */
  condemn(error: PassengerError): void {
    this.book.close();
    if (this.state === 'starting') {
      this.attempt?.abort(error);
      return;
    }
    if (this.state === 'ready') this.#machine.transition('draining', error.row.message);
    if (this.state === 'draining') this.#machine.transition('stopping', error.row.message);
    this.kill();
  }

  /** At once and without asking. */
  kill(): void {
    this.#handle?.signal('SIGKILL', true);
    this.#arm(KILL_AGAIN_MS, () => this.kill());
  }

  /** A second wish to drain may shorten the time, never prolong it. */
  #drainUntil(due: number): void {
    if (due >= this.#drainDue) return;
    this.#drainDue = due;
    this.#arm(due - this.host.clock.now(), () => this.#drainTimedOut());
  }

  #drainTimedOut(): void {
    this.host.log.report('PSG5007', { pid: this.pid, sessions: this.sessions });
    this.host.drainEnded(this);
  }

  #askToExit(): void {
    const graceMs = Math.min(this.#graceMs, this.host.limits.shutdownTimeoutMs);
    this.#handle?.shutdown();
    this.#arm(graceMs / 2, () => {
      this.#handle?.signal('SIGTERM', false);
      this.#arm(graceMs / 2, () => {
        this.host.log.report('PSG5008', { pid: this.pid, graceMs });
        this.kill();
      });
    });
  }

  #arm(delayMs: number, run: () => void): void {
    this.#disarm();
    this.#timer = this.host.clock.setTimeout(run, delayMs);
  }

  #disarm(): void {
    if (this.#timer !== undefined) this.host.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** For people: `exit code 1`, `SIGKILL`. */
export function exitText(reason: ExitReason): string {
  return reason.signal ?? (reason.code === undefined ? 'unknown' : `exit code ${reason.code}`);
}

/** 96 bits; keys are 64 random ones. */
function stickyIdOf(key: string): string {
  return createHash('sha256').update(`sticky route\n${key}`).digest('base64url').slice(0, 16);
}
