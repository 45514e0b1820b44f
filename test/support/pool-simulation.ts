/**
 * A pool with many apps and many requests, on a clock of its own and without processes: what does a decision cost, and
 * does that grow with the number of apps? Used by the command `npm run simulate` and, small, by the unit tests.
 *
 * Popularity is uneven, as everywhere: a few apps get most of the requests, most apps get one now and then. There are
 * places for half of the apps, so that idle processes make way all the time.
 */
import { Heap } from '../../core/base/heap.js';
import type { Clock, ClockTimer } from '../../core/base/clock.js';
import { Log, LogThreshold } from '../../core/base/log.js';
import { makeAppConfig, type AppConfig } from '../../core/config/app-config.js';
import { settingsFrom } from '../../core/config/settings.js';
import type { AppGroup } from '../../core/pool/app-group.js';
import { Pool } from '../../core/pool/pool.js';
import type { Session } from '../../core/pool/session.js';
import type { Waiter } from '../../core/pool/waiting-list.js';
import { AppRegistry } from '../../core/routing/app-registry.js';
import { choose } from '../../core/routing/choose.js';
import { FakeSpawner } from './fake-spawner.js';

class SimulatedTimer implements ClockTimer {
  readonly kind = 'clock-timer';
  constructor(readonly run: () => void) {}
}

/** Like FakeClock, for a great many timers. Counts those that have run. */
class SimulatedClock implements Clock {
  #now = 1000;
  readonly #timers = new Heap<ClockTimer>();
  fired = 0;

  now(): number {
    return this.#now;
  }
  wall(): Date {
    return new Date(Date.UTC(2026, 0, 1) + this.#now);
  }
  get pending(): number {
    return this.#timers.size;
  }
  setTimeout(run: () => void, delayMs: number): ClockTimer {
    const timer = new SimulatedTimer(run);
    this.#timers.set(timer, this.#now + delayMs);
    return timer;
  }
  clearTimeout(timer: ClockTimer): void {
    this.#timers.delete(timer);
  }
  advance(ms: number): void {
    const end = this.#now + ms;
    for (let first = this.#timers.first; first !== undefined && first.key <= end;) {
      this.#timers.delete(first.item);
      this.#now = Math.max(this.#now, first.key);
      this.fired += 1;
      if (first.item instanceof SimulatedTimer) first.item.run();
      first = this.#timers.first;
    }
    this.#now = end;
  }
}

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
const MOST_PLACES = 65_535;

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

function configs(count: number, texts: Readonly<Record<string, string>>): AppConfig[] {
  const settings = settingsFrom('app', texts);
  return Array.from({ length: count }, (_, index) => {
    const appRoot = `/srv/app${index}`;
    const documentRoot = `${appRoot}/public`;
    const facts = { appRoot, baseUri: '/', documentRoot, found: 'node' as const, foundStartupFile: 'app.js' };
    return makeAppConfig({ ...facts, env: [] }, settings);
  });
}

/** @param looked called for each question about a file */
function makePool(
  clock: Clock,
  spawner: FakeSpawner,
  maxPoolSize: number,
  looked: () => void,
  random: () => number = Math.random,
): Pool {
  return new Pool({
    spawner,
    files: {
      stat: () => {
        looked();
        return Promise.resolve({ exists: false, mtimeNs: 0n, inode: 0n });
      },
    },
    memory: { measure: () => Promise.resolve(new Map()) },
    registry: new AppRegistry<AppGroup>(1),
    choose,
    clock,
    log: new Log('pool', { write: () => undefined }, new LogThreshold(0)),
    server: settingsFrom('server', { maxPoolSize: String(maxPoolSize) }),
    random,
  });
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

async function pass(clock: SimulatedClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 1000) {
    clock.advance(1000);
    for (let job = 0; job < 8; job += 1) await Promise.resolve();
  }
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

/** What processes cost that run and get no requests, in groups of one process each. */
export interface CalmCost {
  readonly groups: number;
  /** Timers that the pool had run, and looks at restart files, in each second. */
  readonly timers: number;
  readonly looks: number;
  /** Microseconds of this machine's time in each second: what the pool does by itself, and hearing what loaders report. */
  readonly poolUs: number;
  readonly reportsUs: number;
}

const CALM_SECONDS = 400;
const REPORT_SECONDS = 2;

/** As many apps as that, each with one process that nobody asks for. */
export async function simulateCalm(groups: number): Promise<CalmCost> {
  const clock = new SimulatedClock();
  const spawner = new FakeSpawner(clock);
  let looks = 0;
  const pool = makePool(clock, spawner, Math.min(MOST_PLACES, groups), () => (looks += 1));
  const visitor: Waiter = { onSession: (session) => session.close('ok'), onFailure: () => undefined };
  for (const app of configs(groups, { minInstances: '1' })) {
    pool.checkout(app, visitor);
    for (let job = 0; job < 8; job += 1) await Promise.resolve();
    clock.advance(1);
  }
  await pass(clock, 60_000);
  const before = { timers: clock.fired, looks };
  const spent = { pool: 0, reports: 0 };
  for (let second = 0; second < CALM_SECONDS; second += 1) {
    const begun = performance.now();
    await pass(clock, 1000);
    spent.pool += performance.now() - begun;
    if (second % REPORT_SECONDS > 0) continue;
    const heard = performance.now();
    for (const process of spawner.processes) process.report({ elu: 0.001 });
    spent.reports += performance.now() - heard;
  }
  return {
    groups: spawner.alive.length,
    timers: (clock.fired - before.timers) / CALM_SECONDS,
    looks: (looks - before.looks) / 2 / CALM_SECONDS,
    poolUs: (spent.pool * 1000) / CALM_SECONDS,
    reportsUs: (spent.reports * 1000) / CALM_SECONDS,
  };
}
