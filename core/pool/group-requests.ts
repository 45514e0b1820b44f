/**
 * The requests of one group: how one gets a session at once or waits for it, and what a session that is closed means
 * for those who wait. Who waits is kept by admission.ts, who gets a slot of which process is said by slots.ts, and when
 * the restart files are looked at by restart-watch.ts. Owned by the group; called by the pool, sessions and threads.
 */
import type { Clock } from '../base/clock.js';
import type { PassengerError } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { Admission, type AdmissionHost } from './admission.js';
import type { AppProcess } from './app-process.js';
import type { GroupBook } from './books.js';
import type { GroupLimits } from './limits.js';
import type { Hold, RestartWatch } from './restart-watch.js';
import type { Session, StickyWish } from './session.js';
import { Slots, type SlotsHost } from './slots.js';
import type { Turn } from './turn.js';
import type { Waiter, WaitingEntry } from './waiting-list.js';
import type { WaitingTotal } from './waiting-total.js';

export interface GroupRequestsHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly turn: Turn;
  readonly book: GroupBook;
  readonly limits: GroupLimits;
  readonly serving: readonly AppProcess[];
  readonly starting: number;
  readonly waitingTotal: WaitingTotal;
  readonly paused: boolean;
  readonly failure: PassengerError | undefined;
  choose(candidates: readonly AppProcess[]): AppProcess | undefined;
  /** Requests wait, or do not wait any more. */
  needsChanged(): void;
  /** It has finished as many requests as it may, or a multiple of that. */
  processSpent(process: AppProcess): void;
  processIdle(process: AppProcess): void;
}

export class GroupRequests implements AdmissionHost, SlotsHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly turn: Turn;
  readonly waitingTotal: WaitingTotal;
  readonly slots: Slots;
  readonly #admission: Admission;

  constructor(
    private readonly host: GroupRequestsHost,
    private readonly watch: RestartWatch,
  ) {
    this.clock = host.clock;
    this.log = host.log;
    this.turn = host.turn;
    this.waitingTotal = host.waitingTotal;
    this.slots = new Slots(this, (candidates) => host.choose(candidates));
    this.#admission = new Admission(this);
  }

  get limits(): GroupLimits {
    return this.host.limits;
  }
  get serving(): readonly AppProcess[] {
    return this.host.serving;
  }
  get held(): number {
    return this.#admission.held;
  }
  /** Those who wait for a process. */
  get queue(): Admission['queue'] {
    return this.#admission.queue;
  }

  /** The fast way: a session at once, or undefined when the request has to look for one by `enter`. */
  take(now: number, sticky?: StickyWish): Session | undefined {
    this.host.book.lastRequest = now;
    // Who waits is served first; a slot may be free all the same, when the news of another thread is on the way.
    if (!this.watch.clear(now) || this.queue.size > 0) return undefined;
    return this.slots.open(now, sticky);
  }

  /** The slow way: the request waits for a look, for a process, or gets the reason why not. */
  enter(waiter: Waiter, maxQueueTimeMs: number, now: number, sticky?: StickyWish): WaitingEntry {
    return this.#admission.enter(waiter, maxQueueTimeMs, now, sticky);
  }

  /** Whoever waits may be served by now. */
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
        if (reached) this.host.processSpent(process);
        this.#admission.dispatch();
        if (process.sessions === 0) this.host.processIdle(process);
      });
    } else if (process.state === 'draining' && idle) {
      this.turn.run(() => process.stop('requests finished'));
    }
  }

  /** The process takes no more sessions: who waits for it alone takes any. */
  release(process: AppProcess): void {
    this.#admission.release(process);
  }

  waitingChanged(count: number): void {
    this.host.book.waiting = count;
  }

  needsChanged(): void {
    this.host.needsChanged();
  }

  // --- failures

  /** The stored error, while nothing runs and a pause lasts (rule 7 of the group). */
  failureNow(): PassengerError | undefined {
    const { serving, starting, paused, failure } = this.host;
    return serving.length === 0 && starting === 0 && paused ? failure : undefined;
  }

  /** Tells those who wait, if there is such an error. */
  failWaiting(): void {
    const failure = this.failureNow();
    if (failure !== undefined) this.#admission.failQueue(failure);
  }

  failAll(error: PassengerError): void {
    this.#admission.failAll(error);
  }

  // --- looks at the restart files

  ask(now: number): Hold {
    return this.watch.ask(now);
  }

  lookAgain(): void {
    this.watch.again();
  }

  /** A look is over: who was held for it goes on. */
  releaseHeld(): void {
    this.#admission.releaseHeld();
  }

  /** A look takes too long: who waits for the next one goes on as well. */
  releaseAll(): void {
    this.#admission.releaseAll();
  }
}
