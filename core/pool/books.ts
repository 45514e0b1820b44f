/**
 * The part of the pool's books that several threads keep together: how many sessions each process has, and what a
 * request has to know to take one without asking the pool. Memory and atomic steps only; who is best is said by
 * routing/choose.ts, when a process goes by the pool. A book is made by the pool; gateway threads open the same memory.
 *
 * Rules:
 *  1. A session is taken by one atomic step that fails when the process is closed or full, so that the limit holds and
 *     nothing is taken after `close`.
 *  2. Whoever closes a session looks afterwards whether the pool waits for that; the pool says that it waits before it
 *     looks for a free slot. So one of the two always sees the other, and nobody waits for ever.
 *  3. Times and turns are for comparison only; a lost update of theirs spoils nothing but a tie.
 *
 * Each book has memory of its own, so that a thread which still knows a process that has gone spoils nobody's count.
 */
import assert from 'node:assert';

/** In the same word as the count of sessions, so that both change in one step. */
const CLOSED = 1 << 30;
const COUNT = CLOSED - 1;

const GROUP_WORD = { confirmed: 0, waiting: 1, turns: 2 } as const;
const GROUP_TIME = { clearUntil: 0, lastRequest: 1 } as const;
const GROUP_TIMES_AT = 16;
const GROUP_BYTES = 32;

const PROCESS_WORD = {
  sessions: 0,
  concurrency: 1,
  turn: 2,
  processed: 3,
  processedHigh: 4,
  tellAt: 5,
  idleWanted: 6,
  suspect: 7,
} as const;
const PROCESS_TIMES_AT = 32;
const PROCESS_BYTES = 40;

/** What all processes of a group have in common. Written by the pool, but for turns and the last request. */
export class GroupBook {
  readonly #words: Int32Array;
  readonly #times: Float64Array;

  constructor(readonly memory: SharedArrayBuffer = new SharedArrayBuffer(GROUP_BYTES)) {
    this.#words = new Int32Array(memory, 0, GROUP_TIMES_AT / 4);
    this.#times = new Float64Array(memory, GROUP_TIMES_AT);
  }

  /** The last generation whose requests asked for the group; later ones have to tell the pool. */
  get confirmed(): number {
    return Atomics.load(this.#words, GROUP_WORD.confirmed);
  }
  set confirmed(generation: number) {
    Atomics.store(this.#words, GROUP_WORD.confirmed, generation);
  }

  /** Requests in the waiting list: nobody may go past them. */
  get waiting(): number {
    return Atomics.load(this.#words, GROUP_WORD.waiting);
  }
  set waiting(count: number) {
    Atomics.store(this.#words, GROUP_WORD.waiting, count);
  }

  /** Until when requests need not ask for a look at the restart files. */
  get clearUntil(): number {
    return this.#times[GROUP_TIME.clearUntil] ?? 0;
  }
  set clearUntil(time: number) {
    this.#times[GROUP_TIME.clearUntil] = time;
  }

  get lastRequest(): number {
    return this.#times[GROUP_TIME.lastRequest] ?? 0;
  }
  set lastRequest(now: number) {
    this.#times[GROUP_TIME.lastRequest] = now;
  }

  /** Sessions given out so far, in 32 bits: only differences mean something. */
  get turns(): number {
    return Atomics.load(this.#words, GROUP_WORD.turns);
  }
  nextTurn(): number {
    return (Atomics.add(this.#words, GROUP_WORD.turns, 1) + 1) | 0;
  }
}

/** The sessions of one process. */
export class ProcessBook {
  readonly #words: Int32Array;
  readonly #times: Float64Array;

  constructor(
    private readonly group: GroupBook,
    readonly memory: SharedArrayBuffer = new SharedArrayBuffer(PROCESS_BYTES),
  ) {
    this.#words = new Int32Array(memory, 0, PROCESS_TIMES_AT / 4);
    this.#times = new Float64Array(memory, PROCESS_TIMES_AT);
  }

  /** Once, before anybody takes a session. */
  begin(concurrency: number): void {
    Atomics.store(this.#words, PROCESS_WORD.concurrency, concurrency);
  }

  get sessions(): number {
    return Atomics.load(this.#words, PROCESS_WORD.sessions) & COUNT;
  }
  /** No session is taken any more. */
  get closed(): boolean {
    return (Atomics.load(this.#words, PROCESS_WORD.sessions) & CLOSED) !== 0;
  }
  get concurrency(): number {
    return Atomics.load(this.#words, PROCESS_WORD.concurrency);
  }
  /** The larger, the later it was used: minus the number of turns since. */
  get turn(): number {
    return (Atomics.load(this.#words, PROCESS_WORD.turn) - this.group.turns) | 0;
  }
  get processed(): number {
    const high = Atomics.load(this.#words, PROCESS_WORD.processedHigh);
    return high * 2 ** 32 + (Atomics.load(this.#words, PROCESS_WORD.processed) >>> 0);
  }
  /** Whether the pool was looking for an idle process and found this one busy. */
  get idleWanted(): boolean {
    return Atomics.load(this.#words, PROCESS_WORD.idleWanted) !== 0;
  }
  set idleWanted(on: boolean) {
    Atomics.store(this.#words, PROCESS_WORD.idleWanted, Number(on));
  }
  /** It has given no sign of life for a while: others are to be preferred. */
  get suspect(): boolean {
    return Atomics.load(this.#words, PROCESS_WORD.suspect) !== 0;
  }
  set suspect(on: boolean) {
    Atomics.store(this.#words, PROCESS_WORD.suspect, Number(on));
  }
  get lastUsed(): number {
    return this.#times[0] ?? 0;
  }
  set lastUsed(now: number) {
    this.#times[0] = now;
  }

  /** As soon as so many sessions have been closed, the pool is told of each; 0 = never. Up to 2³². */
  get tellAt(): number {
    return Atomics.load(this.#words, PROCESS_WORD.tellAt) >>> 0;
  }
  set tellAt(count: number) {
    Atomics.store(this.#words, PROCESS_WORD.tellAt, count);
  }
  /** Whether so many have been closed. */
  get reached(): boolean {
    const { tellAt } = this;
    return tellAt > 0 && this.processed >= tellAt;
  }

  /** @returns whether a session was free */
  take(now: number): boolean {
    const limit = this.concurrency;
    for (;;) {
      const word = Atomics.load(this.#words, PROCESS_WORD.sessions);
      if ((word & CLOSED) !== 0 || (limit > 0 && word >= limit)) return false;
      if (Atomics.compareExchange(this.#words, PROCESS_WORD.sessions, word, word + 1) === word) break;
    }
    Atomics.store(this.#words, PROCESS_WORD.turn, this.group.nextTurn());
    this.lastUsed = now;
    return true;
  }

  /**
   * Gives a session back.
   * @returns whether the pool has to be told: it waits for a slot, for an idle process, for the end of this one, or for
   * so many sessions
   */
  giveBack(now: number): boolean {
    // First what belongs to the session: whoever sees the count of zero sees the rest, too.
    this.lastUsed = now;
    if (Atomics.add(this.#words, PROCESS_WORD.processed, 1) === -1) {
      Atomics.add(this.#words, PROCESS_WORD.processedHigh, 1);
    }
    const before = Atomics.sub(this.#words, PROCESS_WORD.sessions, 1);
    assert((before & COUNT) > 0, 'a session is closed once');
    const idle = (before & COUNT) === 1;
    if ((before & CLOSED) !== 0) return idle;
    return this.group.waiting > 0 || (idle && this.idleWanted) || this.reached;
  }

  /** No more sessions, whoever asks. The count cannot grow any more when this has returned. */
  close(): void {
    Atomics.or(this.#words, PROCESS_WORD.sessions, CLOSED);
  }
}
