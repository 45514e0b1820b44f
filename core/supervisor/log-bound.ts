/**
 * How much may wait for a log that takes no bytes, and how many lines were dropped beyond that. Pure. Once lines are
 * dropped, all of their kind are, until there is room for many: so the number stands where they would have stood. Used by
 * ErrorLog alone.
 */
import type { Level } from '../base/log.js';

/** Bytes that wait, with what their lines cost beside them. */
export const WAITING = {
  /** For errors and warnings of our own, which a flood of an app must not push out. */
  grave: 1024 * 1024,
  ordinary: 768 * 1024,
  /** After a loss lines are taken again below this. */
  again: 384 * 1024,
} as const;

export class LogBound {
  #dropped = 0;

  /** Lines that were dropped and not told yet. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Decides about one line; counts it if it has to go. */
  admits(level: Level, waiting: number): boolean {
    const grave = level === 'error' || level === 'warn';
    const ordinary = this.#dropped > 0 ? WAITING.again : WAITING.ordinary;
    if (waiting < (grave ? WAITING.grave : ordinary)) return true;
    this.#dropped += 1;
    return false;
  }

  /** Lines that somebody else has lost. */
  add(lines: number): void {
    this.#dropped += lines;
  }

  /** How many lines are to be told as lost now, before any other line; 0 for none. */
  tell(waiting: number): number {
    if (waiting >= WAITING.again) return 0;
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }
}
