/**
 * How long "soon" is on this machine at this moment. Tests name deadlines of a machine that has nothing else to do; where
 * more programs want to run than there are CPU cores, everything takes longer, and that is no failure of ours. Lower
 * bounds, orders of events and numbers never stretch.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

const MOST = 8;
/** A test has a limit of its own: long deadlines do not grow much. */
const MOST_MORE_MS = 15_000;

/** 1 where there is a core for whoever wants to run, 3 where three want each. */
function crowding(): number {
  const [lastMinute = '', , , now = ''] = readFileSync('/proc/loadavg', 'latin1').split(' ');
  const wanting = Math.max(Number(lastMinute), Number.parseInt(now, 10));
  return Math.min(MOST, Math.max(1, wanting / availableParallelism()));
}

/** What `ms` milliseconds of an idle machine may take here and now. */
export function patience(ms: number): number {
  return ms + Math.min(MOST_MORE_MS, ms * (crowding() - 1));
}

/** @param begun what performance.now() was when it began */
export function assertWithin(begun: number, limitMs: number, what: string): void {
  const took = performance.now() - begun;
  if (took > limitMs) assert.ok(took <= patience(limitMs), `${what} took ${Math.round(took)} ms`);
}
