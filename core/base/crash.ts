/** Last words of a process that ends because of a programming error; whoever watches it starts another. */
import { errorText } from './errors.js';
import type { Log } from './log.js';

/** Exit status of a process that ends by its own decision after an internal error (sysexits.h, EX_SOFTWARE). */
export const CRASH_STATUS = 70;

export function crash(log: Log, error: unknown): never {
  log.report('PSG0001', { stack: error instanceof Error ? error.stack : errorText(error) });
  process.exit(CRASH_STATUS);
}
