/**
 * Which process gets the next request: the least busy one, and among equals the one that was used least recently, so
 * that low traffic is spread too. A pure function; the pool gets it as an argument and holds the books.
 */

/** What counts about a process that takes sessions. */
export interface Candidate {
  readonly sessions: number;
  /** Sessions that it may hold; 0 = unlimited. */
  readonly concurrency: number;
  /** Grows with each session given out in the group. */
  readonly turn: number;
  /** It takes no sessions any more. */
  readonly closed?: boolean;
  /** It has given no sign of life for a while: taken only where there is nobody else. */
  readonly suspect?: boolean;
}

/** Whether it can take no more. Never true for unlimited concurrency. */
export function totallyBusy(candidate: Candidate): boolean {
  return candidate.concurrency > 0 && candidate.sessions >= candidate.concurrency;
}

/** Open sessions; for a process with a limit, the share of it that is used. */
export function busyness(candidate: Candidate): number {
  return candidate.concurrency > 0 ? candidate.sessions / candidate.concurrency : candidate.sessions;
}

/** @returns undefined when none is there, or when the least busy one can take no more */
export function choose<C extends Candidate>(candidates: readonly C[]): C | undefined {
  let best: C | undefined;
  let least = Infinity;
  let trusted = false;
  for (const candidate of candidates) {
    if (candidate.closed === true || totallyBusy(candidate)) continue;
    const suspect = candidate.suspect === true;
    if (suspect && trusted) continue;
    const load = busyness(candidate);
    const better = best === undefined || load < least || (load === least && candidate.turn <= best.turn);
    if (!better && (suspect || trusted)) continue;
    best = candidate;
    least = load;
    trusted = !suspect;
  }
  return best;
}
