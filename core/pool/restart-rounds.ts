/**
 * When the restart files of groups are looked at that nobody asks for: one schedule for the whole pool, in the order in
 * which looks fall due. However many groups there are, no more than a fixed number of looks is made in a second, so
 * that groups which are idle cost no CPU each; where there are more of them their turn comes later. Requests do not
 * depend on it: one that finds a look due makes it before it is served. Owned by the pool; restart-watch.ts looks.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import { Heap } from '../base/heap.js';

/** Whose turn may come. */
export interface RoundMember {
  /** Whether there is anything that new code would concern; if not, it leaves until it is added again. */
  readonly awake: boolean;
  /** When the next look is due, on the monotonic clock; requests look, too. */
  readonly due: number;
  /** Looks, unless a look is under way. */
  look(): void;
}

/**
 * A look takes a quarter of a millisecond of CPU in core and supervisor together: all of them then take at most about a
 * hundredth of one processor core. 500 groups can be looked at every ten seconds, the default of
 * PassengerStatThrottleRate; 5000 are every hundred.
 */
export const LOOKS_PER_SECOND = 50;
/** Looks that fall due within this time are made together. */
const ROUND_MS = 100;
const LOOKS_PER_ROUND = (LOOKS_PER_SECOND * ROUND_MS) / 1000;
/** The shortest time between two looks at the files of one group. */
const FLOOR_MS = 2000;

export class RestartRounds {
  readonly #members = new Heap<RoundMember>();
  #timer: ClockTimer | undefined;
  #timerDue = Infinity;
  #lastRound = -Infinity;

  constructor(private readonly clock: Clock) {}

  /** It is awake, or its next look may be due earlier than before. A turn that it has is never put off. */
  put(member: RoundMember): void {
    const turn = this.#turnOf(member, this.clock.now());
    if (turn >= (this.#members.keyOf(member) ?? Infinity)) return;
    this.#members.set(member, turn);
    this.#arm();
  }

  remove(member: RoundMember): void {
    this.#members.delete(member);
    if (this.#members.size === 0) this.#disarm();
  }

  /** Timers may run a fraction of a millisecond early; a look that is not due yet would be put off for a whole turn. */
  #turnOf(member: RoundMember, now: number): number {
    return Math.max(now + FLOOR_MS, Math.ceil(member.due) + 1);
  }

  #arm(): void {
    const { first } = this.#members;
    if (first === undefined) return;
    const due = Math.max(first.key, this.#lastRound + ROUND_MS);
    if (due >= this.#timerDue) return;
    this.#disarm();
    this.#timerDue = due;
    const delayMs = Math.max(0, Math.ceil(due - this.clock.now()));
    this.#timer = this.clock.setTimeout(() => this.#round(), delayMs);
  }

  #disarm(): void {
    if (this.#timer !== undefined) this.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerDue = Infinity;
  }

  #round(): void {
    this.#disarm();
    const now = (this.#lastRound = this.clock.now());
    let looks = 0;
    for (let { first } = this.#members; first !== undefined && first.key <= now; { first } = this.#members) {
      if (looks === LOOKS_PER_ROUND) break;
      looks += this.#turn(first.item, now);
    }
    this.#arm();
  }

  /** @returns how many looks it has made */
  #turn(member: RoundMember, now: number): number {
    if (!member.awake) {
      this.#members.delete(member);
      return 0;
    }
    const looks = member.due <= now;
    if (looks) member.look();
    this.#members.set(member, this.#turnOf(member, now));
    return Number(looks);
  }
}
