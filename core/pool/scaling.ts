/**
 * How many processes a group should start, and which ones may go: pure functions of plain numbers. They start and
 * stop nothing; the pool carries out what they say.
 */

/** The facts about one group that count. "Worn" processes are to be replaced and serve until then. */
export interface GroupLoad {
  readonly minInstances: number;
  /** 0 = no limit. */
  readonly maxInstances: number;
  /** Processes that take sessions and are not worn. */
  readonly ready: number;
  /** Worn processes that take sessions. */
  readonly worn: number;
  /** Starts under way, whatever their code. */
  readonly starting: number;
  /** Those of them that take the place of a worn one. */
  readonly ahead: number;
  /** Substitutes for worn processes that should be started now (deployment.ts). */
  readonly substitutes: number;
  /** Whether nothing else is started, because it is not known that the code works. */
  readonly unproven: boolean;
  readonly waiting: number;
  /** Sessions that one process may hold; 0 = unlimited; undefined = not known yet. */
  readonly concurrency: number | undefined;
  /** Whether no ready process has a free slot. */
  readonly allBusy: boolean;
  /** Whether one process more would help although none is at its limit of sessions (load.ts). */
  readonly saturated: boolean;
  /** Whether a pause after failures is under way. */
  readonly paused: boolean;
}

export interface Growth {
  /** Processes to start now. */
  readonly start: number;
  /** Processes that the group would start if the pool had room. */
  readonly short: number;
  /** Whether requests wait and the group has nothing at all: others should make way. */
  readonly starving: boolean;
}

const NOTHING: Growth = { start: 0, short: 0, starving: false };

/** Starts of one group at the same time once it is known that the code works. */
const PARALLEL_STARTS = 2;

/** How many the group needs beyond those that are ready or starting, substitutes apart. */
function wanted(load: GroupLoad): number {
  // A worn process whose substitute is on the way will go.
  const alive = load.ready + load.starting + Math.max(0, load.worn - load.ahead);
  const forMinimum = load.minInstances - alive;
  let forRequests = 0;
  if (load.waiting > 0) {
    // With unlimited concurrency requests wait only while nothing is ready, and one process takes them all.
    const each = load.concurrency === undefined || load.concurrency === 0 ? Infinity : load.concurrency;
    forRequests = Math.max(1, Math.ceil(load.waiting / each)) - load.starting;
  } else if (load.allBusy || load.saturated) {
    forRequests = 1 - load.starting;
  }
  const most = load.maxInstances > 0 ? load.maxInstances - alive : Infinity;
  return Math.min(Math.max(forMinimum, forRequests), most);
}

/**
 * Beside the substitutes, which are started in any case: they may exceed the limits, or a full pool could never be
 * redeployed.
 * @param room processes that the pool may still start
 */
export function decideGrowth(load: GroupLoad, room: number): Growth {
  if (load.paused || load.unproven) return NOTHING;
  // Until one process is ready, one start at a time: a broken app fails once, not MinInstances times.
  const serving = load.ready + load.worn;
  const parallel = (serving === 0 ? 1 : PARALLEL_STARTS) - load.starting;
  const need = Math.max(0, Math.min(wanted(load), parallel - load.substitutes));
  const start = Math.min(need, Math.max(0, room));
  const short = need - start;
  const starving = short > 0 && load.waiting > 0 && serving + load.starting + start === 0;
  return { start, short, starving };
}

/** A process of a group that has more than PassengerMaxInstances. */
export interface Surplus {
  readonly sessions: number;
  readonly lastUsed: number;
}

/**
 * Which processes leave because the group's limit has been lowered: worn ones first, then the least busy, of those the
 * longest idle.
 * @param limit 0 = none
 */
export function surplusLeavers<P extends Surplus>(
  ready: readonly P[],
  limit: number,
  isWorn: (process: P) => boolean,
): readonly P[] {
  if (limit === 0 || ready.length <= limit) return [];
  return [...ready]
    .sort((a, b) => a.lastUsed - b.lastUsed)
    .sort((a, b) => a.sessions - b.sessions)
    .sort((a, b) => Number(isWorn(b)) - Number(isWorn(a)))
    .slice(0, ready.length - limit);
}

/** A process as a candidate for leaving. */
export interface Leaver {
  readonly sessions: number;
  /** Milliseconds since it became ready. */
  livedMs(now: number): number;
}

/** A group that may have to give up a process for others. */
export interface Giver<P extends Leaver> {
  readonly minInstances: number;
  readonly ready: readonly P[];
}

/**
 * Which busy processes make way for groups that have waited for too long, in this order: those of groups above their
 * minimum, then of other groups with several, the largest group and in it the least busy process first; at last the
 * only ones of their groups that have served for `leastServiceMs`, the longest-served first.
 */
export function busyLeavers<P extends Leaver>(
  groups: Iterable<Giver<P>>,
  leastServiceMs: number,
  now: number,
): P[] {
  const leavers: { process: P; above: boolean; left: number; livedMs: number }[] = [];
  for (const { ready, minInstances } of groups) {
    let left = ready.length;
    for (const process of [...ready].sort((a, b) => a.sessions - b.sessions)) {
      const livedMs = process.livedMs(now);
      if (left > 1 || livedMs >= leastServiceMs) {
        leavers.push({ process, above: left > minInstances && left > 1, left, livedMs });
      }
      left -= 1;
    }
  }
  const rank = ({ above, left }: { above: boolean; left: number }): number => (above ? 1e6 : 0) + left;
  return leavers
    .sort((a, b) => (rank(a) === rank(b) ? b.livedMs - a.livedMs : rank(b) - rank(a)))
    .map(({ process }) => process);
}
