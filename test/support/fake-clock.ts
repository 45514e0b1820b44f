/** A clock whose hands the test turns: timers run in order of their due time, inside `advance`. */
import type { Clock, ClockTimer } from '../../core/base/clock.js';

class FakeTimer implements ClockTimer {
  readonly kind = 'clock-timer';
  constructor(
    readonly due: number,
    readonly order: number,
    readonly run: () => void,
  ) {}
}

export class FakeClock implements Clock {
  #now = 1000;
  #order = 0;
  #timers: FakeTimer[] = [];

  now(): number {
    return this.#now;
  }

  wall(): Date {
    return new Date(Date.UTC(2026, 0, 1) + this.#now);
  }

  setTimeout(run: () => void, delayMs: number): ClockTimer {
    const timer = new FakeTimer(this.#now + delayMs, this.#order++, run);
    this.#timers.push(timer);
    return timer;
  }

  clearTimeout(timer: ClockTimer): void {
    this.#timers = this.#timers.filter((other) => other !== timer);
  }

  /** Timers that wait, for tests that assert none is left. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Moves time on by `ms`, running everything that falls due on the way, also what those runs arm. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#timers
        .filter((timer) => timer.due <= end)
        .sort((a, b) => (a.due === b.due ? a.order - b.order : a.due - b.due))[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.due);
      next.run();
    }
    this.#now = end;
  }

  /** Time passes and nobody notices, as while the process is stopped: timers that are due run all at its end. */
  stall(ms: number): void {
    this.#now += ms;
    this.advance(0);
  }
}
