/**
 * A pool with many apps and many requests, on a clock of its own and without processes: what does a decision cost, and
 * does that grow with the number of apps? Used by the command `npm run simulate` and, small, by the unit tests.
 *
 * Popularity is uneven, as everywhere: a few apps get most of the requests, most apps get one now and then. There are
 * places for half of the apps, so that idle processes make way all the time.
 */
import type { Pool } from '../../core/pool/pool.js';
import type { Session } from '../../core/pool/session.js';
import type { Waiter } from '../../core/pool/waiting-list.js';
import { FakeSpawner } from './fake-spawner.js';
import { configs, makePool, MOST_PLACES, pass, SimulatedClock } from './simulated-pool.js';

export interface Cost {
  readonly medianUs: number;
  /** More than a tenth of all requests start a process in another one's place: this is what that costs. */
  readonly p90Us: number;
  readonly p99Us: number;
}

export interface SimulationResult {
  readonly groups: number;
  readonly requests: number;
  readonly served: number;
  readonly failed: number;
  readonly starts: number;
  readonly checkout: Cost;
  readonly close: Cost;
  /** Everything else that the pool did, timers and starts and ends of processes, for each request. */
  readonly restUs: number;
  /** Afterwards, without any request. */
  readonly idle: IdleCost | undefined;
}

/** What apps cost that nobody asks for. */
export interface IdleCost {
  /** Timers that ran in 200 seconds, and questions about files. */
  readonly timers: number;
  readonly looks: number;
  /** Groups and processes that are left. */
  readonly groups: number;
  readonly processes: number;
}

export interface SimulationOptions {
  readonly groups: number;
  readonly requests: number;
  /** Sessions that are open at the same time. */
  readonly open: number;
  readonly seed: number;
  /** Whether to go on without requests, to see what that costs. */
  readonly rest?: boolean;
}

/** Requests between two moments at which time moves on and processes start and end. */
const BATCH = 20;
/** Simulated milliseconds of a batch. */
const BATCH_MS = 2;

function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** In the first half most apps appear for the first time. */
function costOf(samples: Float64Array): Cost {
  const sorted = samples.slice(samples.length / 2).sort();
  const at = (share: number): number => (sorted[Math.floor(sorted.length * share)] ?? 0) * 1000;
  return { medianUs: at(0.5), p90Us: at(0.9), p99Us: at(0.99) };
}

/** A request that is closed by its place in the row of open ones. */
class Visit implements Waiter {
  session: Session | undefined;
  over = false;
  constructor(private readonly tally: { served: number; failed: number }) {}

  onSession(session: Session): void {
    this.tally.served += 1;
    if (this.over) session.close('ok');
    else this.session = session;
  }
  onFailure(): void {
    this.tally.failed += 1;
  }
}

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const { groups, requests, open, seed } = options;
  const random = randomFrom(seed);
  const clock = new SimulatedClock();
  const spawner = new FakeSpawner(clock);
  let looks = 0;
  const pool = makePool(
    clock,
    spawner,
    Math.min(MOST_PLACES, Math.ceil(groups / 2)),
    () => (looks += 1),
    random,
  );
  const apps = configs(groups, { minInstances: '0', forceMaxConcurrentRequestsPerProcess: '4' });
  const tally = { served: 0, failed: 0 };
  const row: (Visit | undefined)[] = Array.from({ length: open }, () => undefined);
  const checkouts = new Float64Array(requests);
  const closes = new Float64Array(requests);
  let restMs = 0;
  for (let request = 0; request < requests; request += 1) {
    if (request % BATCH === 0) {
      const before = performance.now();
      clock.advance(BATCH_MS);
      for (let job = 0; job < 8; job += 1) await Promise.resolve();
      restMs += performance.now() - before;
    }
    const place = Math.floor(random() * open);
    const leaving = row[place];
    if (leaving !== undefined) {
      leaving.over = true;
      const before = performance.now();
      leaving.session?.close('ok');
      closes[request] = performance.now() - before;
    }
    // The cube: half of the requests go to an eighth of the apps.
    const app = apps[Math.floor(random() ** 3 * groups)];
    if (app === undefined) continue;
    const visit = new Visit(tally);
    row[place] = visit;
    const before = performance.now();
    const answer = pool.checkout(app, visit);
    checkouts[request] = performance.now() - before;
    if ('target' in answer) visit.onSession(answer);
  }
  for (const visit of row) {
    if (visit === undefined) continue;
    visit.over = true;
    visit.session?.close('ok');
  }
  await pass(clock, 1000);
  const idle = options.rest === true ? await idleCost(pool, clock, () => looks) : undefined;
  const { starts, ...result } = { starts: spawner.attempts.length, ...tally };
  return {
    groups,
    requests,
    ...result,
    starts,
    checkout: costOf(checkouts),
    close: costOf(closes),
    restUs: (restMs * 1000) / requests,
    idle,
  };
}

/** After everybody has gone and what was idle has been stopped; PassengerPoolIdleTime is five minutes. */
async function idleCost(pool: Pool, clock: SimulatedClock, looks: () => number): Promise<IdleCost> {
  await pass(clock, 320_000);
  const before = { timers: clock.fired, looks: looks() };
  await pass(clock, 200_000);
  const cost = { timers: clock.fired - before.timers, looks: looks() - before.looks };
  const snapshot = pool.snapshot();
  return { ...cost, groups: snapshot.groups.length, processes: snapshot.processCount };
}
