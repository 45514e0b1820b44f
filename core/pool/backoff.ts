/**
 * How long to pause before an app is started again after it could not be started or kept crashing. Data about one
 * group; it arms no timer and starts nothing.
 */

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;
/** Crashes in a row that are replaced without a pause: an out-of-memory kill or two is not a crash loop. */
const FREE_CRASHES = 2;
/** A process that lived as long as this has proved that the app works. */
export const STABLE_AFTER_MS = 30_000;
/** Each pause is shortened by up to this share, so that apps that failed together do not start together. */
const JITTER = 0.2;

export class Backoff {
  #failures = 0;
  #until = -Infinity;
  #lastCrash = -Infinity;

  /** @param random a number from 0 up to 1 */
  constructor(private readonly random: () => number = Math.random) {}

  /** The time on the monotonic clock before which nothing may be started. */
  get until(): number {
    return this.#until;
  }

  get failures(): number {
    return this.#failures;
  }

  active(now: number): boolean {
    return now < this.#until;
  }

  /** A start failed: 1, 2, 4 … 30 s. @returns the pause in ms */
  startFailed(now: number): number {
    this.#failures += 1;
    return this.#pause(now, this.#failures - 1);
  }

  /**
   * A ready process ended by itself: at once, at once, 1, 2, 4 … 30 s. One that ran already when the last counted crash
   * happened has not been tried since: many that end for one reason are one failure.
   * @returns the pause in ms; 0 also when this crash does not count
   */
  crashed(now: number, livedMs: number): number {
    if (livedMs >= STABLE_AFTER_MS) this.reset();
    else if (now - livedMs < this.#lastCrash) return 0;
    this.#lastCrash = now;
    this.#failures += 1;
    return this.#pause(now, this.#failures - 1 - FREE_CRASHES);
  }

  /** The code has changed or proved itself: the past does not count. */
  reset(): void {
    this.#failures = 0;
    this.#until = -Infinity;
  }

  #pause(now: number, doublings: number): number {
    if (doublings < 0) return 0;
    const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(doublings, 10));
    const pause = full * (1 - JITTER * this.random());
    this.#until = Math.max(this.#until, now + pause);
    return pause;
  }
}
