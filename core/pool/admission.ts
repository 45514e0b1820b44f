/**
 * How a request gets from the door of its group to a session, to the waiting list, or to a clear refusal. It holds
 * the requests and decides nothing about processes; the group owns it and tells it when something may have changed.
 *
 *     enter ─▶ held (a look at the restart files is under way) ─▶ admit ─▶ session | waiting line | refusal
 */
import type { Clock } from '../base/clock.js';
import { PassengerError } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { AppProcess } from './app-process.js';
import type { GroupLimits } from './limits.js';
import { PacedLog } from '../base/paced-log.js';
import type { Hold } from './restart-watch.js';
import type { Session, StickyWish } from './session.js';
import type { Slots } from './slots.js';
import type { Turn } from './turn.js';
import { WaitingLines } from './waiting-lines.js';
import { WaitingEntry, WaitingList, type Waiter } from './waiting-list.js';
import type { WaitingTotal } from './waiting-total.js';

export interface AdmissionHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly turn: Turn;
  readonly limits: GroupLimits;
  readonly slots: Slots;
  /** The error that everybody gets while nothing runs and a pause lasts. */
  failureNow(): PassengerError | undefined;
  /** Whether the request has to wait for a look at the restart files. */
  ask(now: number): Hold;
  lookAgain(): void;
  /** Of all groups. */
  readonly waitingTotal: WaitingTotal;
  /** How many requests are in the waiting list. */
  waitingChanged(count: number): void;
  /** Requests wait, or do not wait any more. */
  needsChanged(): void;
}

/**
 * Requests that may be held back for a look at the restart files; more than these go on without it, and so does
 * everybody while too many requests of all groups wait.
 */
const MOST_HELD = 1000;
/** Added to PassengerStartTimeout for a request that brings no limit of its own. */
const EXTRA_WAIT_MS = 30_000;

export class Admission {
  /** Those who wait for a process. */
  readonly queue: WaitingLines<AppProcess>;
  /** Held back for the look under way, and for the one after it. */
  #held: WaitingList;
  #heldNext: WaitingList;
  readonly #refusals: PacedLog;

  constructor(private readonly host: AdmissionHost) {
    const expired = (entry: WaitingEntry): void => this.#expired(entry);
    const { waitingTotal } = host;
    const total = waitingTotal.member();
    this.queue = new WaitingLines(host.clock, expired, (size) => {
      total(size);
      host.waitingChanged(size);
    });
    this.#held = new WaitingList(host.clock, expired, waitingTotal.member());
    this.#heldNext = new WaitingList(host.clock, expired, waitingTotal.member());
    this.#refusals = new PacedLog(host.log, host.clock);
  }

  get held(): number {
    return this.#held.size + this.#heldNext.size;
  }

  enter(waiter: Waiter, maxQueueTimeMs: number, now: number, sticky: StickyWish | undefined): WaitingEntry {
    const limit = maxQueueTimeMs > 0 ? maxQueueTimeMs : this.host.limits.startTimeoutMs + EXTRA_WAIT_MS;
    const entry = new WaitingEntry(waiter, now, now + limit, (canceled) => this.#canceled(canceled), sticky);
    const mayHold = this.held < MOST_HELD && !this.host.waitingTotal.full;
    const hold = mayHold ? this.host.ask(now) : 'pass';
    if (hold === 'this') this.#held.add(entry);
    else if (hold === 'next') this.#heldNext.add(entry);
    else this.#admit(entry);
    return entry;
  }

  /** Gives sessions to those who wait, for as long as there are any; who has waited longest is first. */
  dispatch(): void {
    while (this.#serveNext());
  }

  /** @returns whether there may be more to do */
  #serveNext(): boolean {
    const { queue } = this;
    let oldest = queue.anyone.first;
    let alone: AppProcess | undefined;
    for (const process of queue.wanted) {
      const first = process.full || process.closed ? undefined : queue.firstFor(process);
      if (first === undefined || (oldest !== undefined && oldest.since <= first.since)) continue;
      oldest = first;
      alone = process;
    }
    if (oldest === undefined) return false;
    return alone === undefined ? this.#serveByAny(oldest) : this.#serveBy(alone, oldest);
  }

  #serveByAny(entry: WaitingEntry): boolean {
    const { host, queue } = this;
    // The session that it names may have got a process while it waited.
    const owner = host.slots.owner(entry.sticky);
    if (owner !== undefined) {
      queue.anyone.remove(entry);
      queue.add(entry, owner);
      return true;
    }
    return this.#grantFrom(host.slots.open(host.clock.now(), entry.sticky), entry);
  }

  #serveBy(process: AppProcess, entry: WaitingEntry): boolean {
    this.#grantFrom(this.host.slots.openWith(process, this.host.clock.now()), entry);
    // If another thread has taken the slot, the process is full now, and the others have their turn.
    return true;
  }

  #grantFrom(session: Session | undefined, entry: WaitingEntry): boolean {
    if (session === undefined) return false;
    entry.list?.remove(entry);
    this.#grant(entry, session);
    return true;
  }

  /** The process takes no more requests: those who waited for it take any. To be followed by `dispatch`. */
  release(process: AppProcess): void {
    this.queue.release(process);
  }

  /** The look is over: those who waited for it go on, and there is another look for those who came during it. */
  releaseHeld(): void {
    const entries = this.#held.takeAll();
    [this.#held, this.#heldNext] = [this.#heldNext, this.#held];
    for (const entry of entries) this.#admit(entry);
    if (this.#held.size > 0) this.host.lookAgain();
  }

  /** The look takes too long: nobody waits any more, neither for this one nor for the next. */
  releaseAll(): void {
    const entries = [...this.#held.takeAll(), ...this.#heldNext.takeAll()];
    for (const entry of entries) this.#admit(entry);
  }

  failQueue(error: PassengerError): void {
    for (const entry of this.queue.takeAll()) this.#fail(entry, error);
  }

  failAll(error: PassengerError): void {
    for (const list of [this.#held, this.#heldNext]) {
      for (const entry of list.takeAll()) this.#fail(entry, error);
    }
    this.failQueue(error);
  }

  #admit(entry: WaitingEntry): void {
    const { host, queue } = this;
    this.dispatch();
    const owner = host.slots.owner(entry.sticky);
    const before = owner === undefined ? queue.anyone.first : queue.firstFor(owner);
    const session = before === undefined ? host.slots.open(host.clock.now(), entry.sticky) : undefined;
    if (session !== undefined) {
      this.#grant(entry, session);
      return;
    }
    const failure = host.failureNow();
    const { queueSize } = host.limits;
    if (failure !== undefined) {
      this.#fail(entry, failure);
    } else if (queueSize > 0 && queue.size >= queueSize) {
      this.#refuse(entry, new PassengerError('PSG5001', { queueSize }));
    } else if (host.waitingTotal.full) {
      this.#fail(entry, host.waitingTotal.refusal());
    } else {
      queue.add(entry, owner);
      // Only now do other threads tell of the sessions that they close; one may have been closed just before.
      this.dispatch();
      host.needsChanged();
    }
  }

  /** The session is the entry's from now on; if it is canceled before it hears of it, the slot comes back. */
  #grant(entry: WaitingEntry, session: Session): void {
    this.#settle(
      entry,
      () => entry.waiter.onSession(session),
      () => session.close('canceled'),
    );
  }

  #refuse(entry: WaitingEntry, error: PassengerError): void {
    this.#refusals.report(error.code, error.details);
    this.#fail(entry, error);
  }

  #fail(entry: WaitingEntry, error: PassengerError): void {
    this.#settle(
      entry,
      () => entry.waiter.onFailure(error),
      () => undefined,
    );
  }

  #settle(entry: WaitingEntry, news: () => void, takeBack: () => void): void {
    entry.state = 'settled';
    this.host.turn.tell(() => entry.tell(news, takeBack));
  }

  #expired(entry: WaitingEntry): void {
    const waitedMs = Math.round(this.host.clock.now() - entry.since);
    this.host.turn.run(() => {
      this.#refuse(entry, new PassengerError('PSG5002', { waitedMs }));
      this.host.needsChanged();
    });
  }

  #canceled(entry: WaitingEntry): void {
    const { list } = entry;
    if (list === undefined) return;
    this.host.turn.run(() => {
      list.remove(entry);
      this.host.needsChanged();
    });
  }
}
