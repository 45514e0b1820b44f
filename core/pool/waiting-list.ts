/**
 * Requests that wait, in the order of their coming: a doubly linked list, so that a request whose client has gone leaves
 * in constant time, with one timer for the earliest deadline instead of one for each request. It knows nothing of
 * processes; the group decides who gets what.
 *
 *     first ⇄ entry ⇄ entry ⇄ last        an entry is in one list at a time, or in none
 */
import assert from 'node:assert';
import type { Clock, ClockTimer } from '../base/clock.js';
import type { PassengerError } from '../base/errors.js';
import type { Session, StickyWish } from './session.js';

/** A request's side of waiting. Exactly one of the two is called, once, unless the ticket was canceled before. */
export interface Waiter {
  onSession(session: Session): void;
  onFailure(error: PassengerError): void;
}

/** What a request holds while it waits. */
export interface Ticket {
  /** Nothing is called afterwards. Harmless when the wait is over. */
  cancel(): void;
}

/** waiting: in a list; settled: session or error on its way; told: the waiter knows; canceled: it does not want to. */
export type EntryState = 'waiting' | 'settled' | 'told' | 'canceled';

export class WaitingEntry implements Ticket {
  state: EntryState = 'waiting';
  previous: WaitingEntry | undefined;
  next: WaitingEntry | undefined;
  list: WaitingList | undefined;

  constructor(
    readonly waiter: Waiter,
    readonly since: number,
    /** On the monotonic clock. */
    readonly deadline: number,
    private readonly canceled: (entry: WaitingEntry) => void,
    /** Undefined: any process will do. */
    readonly sticky?: StickyWish,
  ) {}

  /** True while `checkout` has not returned yet: its caller must have the ticket before it hears of the end. */
  fresh = true;

  /**
   * Tells the waiter; not before the caller of `checkout` has its ticket.
   * @param takeBack called instead when the waiter has canceled meanwhile
   */
  tell(news: () => void, takeBack: () => void): void {
    if (this.fresh) queueMicrotask(() => this.#tellNow(news, takeBack));
    else this.#tellNow(news, takeBack);
  }

  #tellNow(news: () => void, takeBack: () => void): void {
    if (this.state === 'canceled') {
      takeBack();
      return;
    }
    this.state = 'told';
    news();
  }

  cancel(): void {
    if (this.state === 'told' || this.state === 'canceled') return;
    this.state = 'canceled';
    this.canceled(this);
  }
}

export class WaitingList {
  #first: WaitingEntry | undefined;
  #last: WaitingEntry | undefined;
  #size = 0;
  #timer: ClockTimer | undefined;
  #timerDue = Infinity;

  /**
   * @param expired called for each entry whose deadline has passed, after it was taken out
   * @param sized hears the size after each change
   */
  constructor(
    private readonly clock: Clock,
    private readonly expired: (entry: WaitingEntry) => void,
    private readonly sized: (size: number) => void = () => undefined,
  ) {}

  get size(): number {
    return this.#size;
  }

  get first(): WaitingEntry | undefined {
    return this.#first;
  }

  add(entry: WaitingEntry): void {
    this.#insert(entry, this.#last);
  }

  /** Takes entries of another list over, each at the place that it has waited for. */
  merge(entries: readonly WaitingEntry[]): void {
    let last = this.#last;
    for (const entry of [...entries].reverse()) {
      this.#insert(entry, last);
      last = entry.previous;
    }
  }

  /** Behind `after`, or before it when that one came later; nearly always it is the last one. */
  #insert(entry: WaitingEntry, after: WaitingEntry | undefined): void {
    assert(entry.list === undefined && entry.state === 'waiting', 'an entry waits in one list');
    let previous = after;
    while (previous !== undefined && previous.since > entry.since) previous = previous.previous;
    const next = previous === undefined ? this.#first : previous.next;
    entry.list = this;
    entry.previous = previous;
    entry.next = next;
    if (previous === undefined) this.#first = entry;
    else previous.next = entry;
    if (next === undefined) this.#last = entry;
    else next.previous = entry;
    this.#size += 1;
    this.sized(this.#size);
    if (entry.deadline < this.#timerDue) this.#arm(entry.deadline);
  }

  remove(entry: WaitingEntry): void {
    assert(entry.list === this, 'the entry is in this list');
    if (entry.previous === undefined) this.#first = entry.next;
    else entry.previous.next = entry.next;
    if (entry.next === undefined) this.#last = entry.previous;
    else entry.next.previous = entry.previous;
    entry.list = entry.previous = entry.next = undefined;
    this.#size -= 1;
    this.sized(this.#size);
    if (this.#size === 0) this.#disarm();
  }

  /** Takes out the one that has waited longest. */
  shift(): WaitingEntry | undefined {
    const entry = this.#first;
    if (entry !== undefined) this.remove(entry);
    return entry;
  }

  /** Takes out all, in order. */
  takeAll(): WaitingEntry[] {
    const all: WaitingEntry[] = [];
    for (let entry = this.shift(); entry !== undefined; entry = this.shift()) all.push(entry);
    return all;
  }

  #arm(due: number): void {
    this.#disarm();
    this.#timerDue = due;
    this.#timer = this.clock.setTimeout(() => this.#expire(), Math.max(0, due - this.clock.now()));
  }

  #disarm(): void {
    if (this.#timer !== undefined) this.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerDue = Infinity;
  }

  /** Deadlines differ between requests, hence the walk; it happens once for each deadline, not for each request. */
  #expire(): void {
    this.#disarm();
    const now = this.clock.now();
    const late: WaitingEntry[] = [];
    let earliest = Infinity;
    for (let entry = this.#first; entry !== undefined; entry = entry.next) {
      if (entry.deadline <= now) late.push(entry);
      else earliest = Math.min(earliest, entry.deadline);
    }
    for (const entry of late) this.remove(entry);
    if (this.#size > 0) this.#arm(earliest);
    for (const entry of late) this.expired(entry);
  }
}
