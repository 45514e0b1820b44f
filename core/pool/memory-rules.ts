/**
 * What a process's use of memory means, and when to look again: pure functions of numbers. They measure nothing and
 * end nothing; the memory watch carries out what they say.
 */

/** In bytes; Infinity = no limit. */
export interface MemoryLimits {
  /** PassengerMemoryLimit: above it a process is replaced. */
  readonly softBytes: number;
  /** PassengerHardMemoryLimit: above it a process is killed. */
  readonly hardBytes: number;
}

/** worn: to be replaced without loss; over: to be killed. */
export type MemoryVerdict = 'fine' | 'worn' | 'over';

/** One look at a process. */
export interface MemoryLook {
  readonly bytes: number;
  /** On the monotonic clock. */
  readonly at: number;
}

interface Pace {
  /** Growth that is reckoned with although it has not been seen, in bytes per millisecond. */
  readonly suddenly: number;
  readonly shortestMs: number;
  readonly longestMs: number;
}

const MB = 2 ** 20;
/** A Node process that fills buffers takes some 500 MB in a second. */
const HARD_PACE: Pace = { suddenly: (500 * MB) / 1000, shortestMs: 100, longestMs: 2000 };
/** Nothing breaks when a replacement comes a little later. */
const SOFT_PACE: Pace = { suddenly: (50 * MB) / 1000, shortestMs: 1000, longestMs: 5000 };

export function memoryLimited({ softBytes, hardBytes }: MemoryLimits): boolean {
  return softBytes < Infinity || hardBytes < Infinity;
}

/** A limit is what a process may have: it counts when it is exceeded. */
export function judgeMemory(bytes: number, { softBytes, hardBytes }: MemoryLimits): MemoryVerdict {
  if (bytes > hardBytes) return 'over';
  return bytes > softBytes ? 'worn' : 'fine';
}

/** Milliseconds until the limit may be reached, within what the pace allows. */
function untilReached(bytes: number, growth: number, limit: number, pace: Pace): number {
  if (limit === Infinity) return Infinity;
  const room = Math.max(0, limit - bytes);
  const delay = room / Math.max(pace.suddenly, 2 * growth);
  return Math.min(pace.longestMs, Math.max(pace.shortestMs, delay));
}

/** Milliseconds until the next look: the nearer to a limit, and the faster the growth since `before`, the sooner. */
export function nextLookMs(look: MemoryLook, before: MemoryLook | undefined, limits: MemoryLimits): number {
  const sinceMs = before === undefined ? 0 : look.at - before.at;
  const growth = before === undefined || sinceMs <= 0 ? 0 : (look.bytes - before.bytes) / sinceMs;
  return Math.min(
    untilReached(look.bytes, growth, limits.hardBytes, HARD_PACE),
    untilReached(look.bytes, growth, limits.softBytes, SOFT_PACE),
  );
}
