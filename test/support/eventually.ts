/** Waiting in tests: for a condition with a deadline, never for a fixed time. */
import { setTimeout as pause } from 'node:timers/promises';
import { patience } from './patience.js';

/**
 * Polls `condition` until it holds (returns something other than false or undefined) and returns what it returned.
 * @throws Error naming `what` when `deadlineMs` have passed, on a busy machine some more (patience.ts).
 */
export async function eventually<T>(
  deadlineMs: number,
  what: string,
  condition: () => T | Promise<T>,
): Promise<Exclude<T, false | undefined>> {
  const begun = performance.now();
  for (;;) {
    const value = await condition();
    if (value !== false && value !== undefined) return value as Exclude<T, false | undefined>;
    const waited = performance.now() - begun;
    if (waited > deadlineMs && waited > patience(deadlineMs))
      throw new Error(`not within ${Math.round(waited)} ms (${deadlineMs} on an idle machine): ${what}`);
    await pause(10);
  }
}

/** Gives something time to happen, `forMs` and no more: tells whether it has. For what may as well not happen. */
export async function perhaps(forMs: number, condition: () => boolean | Promise<boolean>): Promise<boolean> {
  for (const end = performance.now() + forMs; performance.now() < end; await pause(10)) {
    if (await condition()) return true;
  }
  return false;
}

/** Watches for `forMs` that `condition` never holds. */
export async function neverWithin(
  forMs: number,
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const end = performance.now() + forMs;
  while (performance.now() < end) {
    if (await condition()) throw new Error(`happened within ${forMs} ms: ${what}`);
    await pause(10);
  }
}
