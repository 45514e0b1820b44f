/**
 * Which processes have fallen silent: their loaders report every two seconds, and whoever has not for five is suspect
 * until it reports again. One schedule for the processes of all groups, which looks at each when its silence may have
 * lasted for long enough; a report itself only leaves its time. What becomes of a suspect is decided by life-signs.ts,
 * whose tool this is. Owned by the pool.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import { Heap } from '../base/heap.js';
import type { AppProcess } from './app-process.js';

/** After so much silence the event loop stands still. */
export const FROZEN_AFTER_MS = 5000;
/** Processes whose time comes within this time are looked at together. */
const ROUND_MS = 100;

export class SilenceWatch {
  /** With the time at which silence since the last look would make it suspect. */
  readonly #processes = new Heap<AppProcess>();
  #timer: ClockTimer | undefined;
  #lastRound = -Infinity;

  constructor(private readonly clock: Clock) {}

  add(process: AppProcess): void {
    this.#processes.set(process, this.clock.now() + FROZEN_AFTER_MS);
    this.#arm();
  }

  remove(process: AppProcess): void {
    this.#processes.delete(process);
    if (this.#processes.size > 0 || this.#timer === undefined) return;
    this.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Nobody's time comes before that of those who are there already: the timer never has to be earlier. */
  #arm(): void {
    const { first } = this.#processes;
    if (first === undefined || this.#timer !== undefined) return;
    const due = Math.max(first.key, this.#lastRound + ROUND_MS);
    this.#timer = this.clock.setTimeout(() => this.#round(), Math.max(0, due - this.clock.now()));
  }

  #round(): void {
    this.#timer = undefined;
    const now = (this.#lastRound = this.clock.now());
    for (
      let { first } = this.#processes;
      first !== undefined && first.key <= now;
      { first } = this.#processes
    ) {
      const process = first.item;
      const due = process.lastReport + FROZEN_AFTER_MS;
      if (due <= now) process.book.suspect = true;
      this.#processes.set(process, due > now ? due : now + FROZEN_AFTER_MS);
    }
    this.#arm();
  }
}
