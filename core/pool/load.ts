/**
 * How loaded the event loops of a group are, and whether it should have one process more or less: pure functions of
 * plain numbers. load-watch.ts asks them regularly and carries out what they say.
 *
 * Node apps hold any number of sessions, so that sessions alone never say that a process is busy; its event loop does.
 * No oscillation: a group grows when its loops are full, and shrinks only when those that would remain were half empty
 * for PassengerPoolIdleTime. What fills n loops to four fifths fills n - 1 to more than a half, whatever n is.
 */

/** Mean utilisation from which one process more helps. */
const GROW_AT = 0.8;
/** Utilisation below which the remaining processes would have to stay. */
const SHRINK_BELOW = 0.5;
/** So often in a row it has to be high. */
const HIGH_LOOKS = 2;
/** How long a process takes to get its share of the work, and its share to show. */
const SETTLE_MS = 7000;
/** Loaders report every two seconds; whoever has missed three reports is too busy to report. */
const SILENT_MS = 7000;
/** The weight of the newest report; older ones share the rest in the same way. */
const NEWEST = 0.5;

/** The event loop of one process, by its reports. */
export class LoopLoad {
  #smoothed: number | undefined;
  /** Undefined: it reports nothing. */
  #reportedAt: number | undefined;

  /** Reports are to be expected from now on. */
  expect(now: number): void {
    this.#reportedAt = now;
  }

  /** @param utilisation 0 to 1, since the report before; undefined for a report that says nothing of it */
  note(utilisation: number | undefined, now: number): void {
    if (utilisation === undefined) {
      if (this.#smoothed === undefined) this.#reportedAt = undefined;
      return;
    }
    const before = this.#smoothed ?? utilisation;
    this.#smoothed = NEWEST * utilisation + (1 - NEWEST) * before;
    this.#reportedAt = now;
  }

  /**
   * Smoothed utilisation; 1 for a loop that is silent, also since its process became ready; undefined as long as nothing is
   * known, and for a process that does not report.
   * @param listeningSince when we began to hear everything that is reported
   */
  at(now: number, listeningSince: number): number | undefined {
    if (this.#reportedAt === undefined) return undefined;
    return now - Math.max(this.#reportedAt, listeningSince) > SILENT_MS ? 1 : this.#smoothed;
  }
}

export interface LoadFacts {
  readonly now: number;
  /** Of each process that serves; undefined = it does not report. */
  readonly loops: readonly (number | undefined)[];
  /** Open sessions and waiting requests. */
  readonly sessions: number;
  /** Sessions that one process may hold; 0 = unlimited. */
  readonly concurrency: number;
  /** Whether processes are being started or replaced. */
  readonly moving: boolean;
  /** Milliseconds since the youngest process became ready. */
  readonly youngestMs: number;
  readonly minInstances: number;
  /** 0 = no limit. */
  readonly maxInstances: number;
  /** Loops that can run at the same time on this machine: more of them do not get more done. */
  readonly cores: number;
  /** How long one process fewer must have been enough; Infinity = nobody leaves. */
  readonly idleMs: number;
}

/** What is to be remembered between two decisions. */
export interface LoadMemory {
  /** Looks in a row at which all loops were full. */
  readonly high: number;
  /** Since when one process fewer would do. */
  readonly lowSince: number | undefined;
}

export const NO_MEMORY: LoadMemory = { high: 0, lowSince: undefined };

export interface LoadDecision {
  readonly move: 'grow' | 'shrink' | 'stay';
  readonly memory: LoadMemory;
}

function isHigh(facts: LoadFacts, sum: number): boolean {
  const count = facts.loops.length;
  const most = Math.min(facts.maxInstances > 0 ? facts.maxInstances : Infinity, facts.cores);
  // With one request at a time for each process, another process would have nothing to do.
  const crowded = facts.sessions > count;
  return crowded && count < most && facts.youngestMs >= SETTLE_MS && sum >= GROW_AT * count;
}

function isLow(facts: LoadFacts, sum: number): boolean {
  const left = facts.loops.length - 1;
  const fits = facts.concurrency === 0 || facts.sessions <= left * facts.concurrency;
  return left > 0 && left >= facts.minInstances && fits && sum < SHRINK_BELOW * left;
}

/** Whether the group should have one process more or less, by what its loops report. */
export function decideLoad(memory: LoadMemory, facts: LoadFacts): LoadDecision {
  let sum = 0;
  for (const loop of facts.loops) {
    if (loop === undefined) return { move: 'stay', memory: NO_MEMORY };
    sum += loop;
  }
  if (facts.moving || facts.loops.length === 0) return { move: 'stay', memory: NO_MEMORY };
  const high = isHigh(facts, sum) ? memory.high + 1 : 0;
  const lowSince = isLow(facts, sum) ? (memory.lowSince ?? facts.now) : undefined;
  if (high >= HIGH_LOOKS) return { move: 'grow', memory: { high, lowSince } };
  if (lowSince !== undefined && facts.now - lowSince >= facts.idleMs) {
    return { move: 'shrink', memory: { high, lowSince: facts.now } };
  }
  return { move: 'stay', memory: { high, lowSince } };
}
