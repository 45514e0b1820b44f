/** Waiting in tests: for a condition with a deadline, never for a fixed time. */
import { setTimeout as pause } from 'node:timers/promises';

/**
 * Polls `condition` until it holds (returns something other than false or undefined) and returns what it returned.
 * @throws Error naming `what` when `deadlineMs` have passed.
 */
export async function eventually<T>(
  deadlineMs: number,
  what: string,
  condition: () => T | Promise<T>,
): Promise<Exclude<T, false | undefined>> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const value = await condition();
    if (value !== false && value !== undefined) return value as Exclude<T, false | undefined>;
    if (performance.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await pause(10);
  }
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
