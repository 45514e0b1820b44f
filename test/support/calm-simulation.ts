/**
 * What apps cost that nobody asks for, as long as their processes run; and what the rare events of one app cost among
 * many others. Used by the command `npm run simulate` and, small, by the unit tests.
 */
import assert from 'node:assert/strict';
import type { AppConfig } from '../../core/config/app-config.js';
import type { Pool } from '../../core/pool/pool.js';
import type { Waiter } from '../../core/pool/waiting-list.js';
import { SessionDesk } from '../../core/threads/session-desk.js';
import { FakeSpawner } from './fake-spawner.js';
import { configs, makePool, MOST_PLACES, pass, SimulatedClock } from './simulated-pool.js';

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
/** Of one look. */
const QUESTIONS = 2;

interface House {
  readonly clock: SimulatedClock;
  readonly spawner: FakeSpawner;
  readonly pool: Pool;
  readonly desk: SessionDesk;
  readonly apps: readonly AppConfig[];
  /** Questions about files so far. */
  readonly asked: () => number;
}

/** As many apps as that, each with one process that nobody asks for. */
async function calmHouse(groups: number): Promise<House> {
  const clock = new SimulatedClock();
  const spawner = new FakeSpawner(clock);
  let asked = 0;
  const pool = makePool(clock, spawner, Math.min(MOST_PLACES, groups), () => (asked += 1));
  const desk = new SessionDesk(pool);
  pool.audience = desk;
  const apps = configs(groups, { minInstances: '1' });
  const visitor: Waiter = { onSession: (session) => session.close('ok'), onFailure: () => undefined };
  for (const app of apps) {
    pool.checkout(app, visitor);
    for (let job = 0; job < 8; job += 1) await Promise.resolve();
    clock.advance(1);
  }
  return { clock, spawner, pool, desk, apps, asked: () => asked };
}

export async function simulateCalm(groups: number): Promise<CalmCost> {
  const { clock, spawner, asked } = await calmHouse(groups);
  await pass(clock, 60_000);
  const before = { timers: clock.fired, asked: asked() };
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
    looks: (asked() - before.asked) / QUESTIONS / CALM_SECONDS,
    poolUs: (spent.pool * 1000) / CALM_SECONDS,
    reportsUs: (spent.reports * 1000) / CALM_SECONDS,
  };
}

/** What happens to one app now and then, among as many as that; microseconds. */
export interface RareCost {
  /** Gateway threads are told of its processes. */
  readonly newsUs: number;
  /** A request of it has run out of time. */
  readonly overdueUs: number;
}

const RARE_EVENTS = 500;

export async function simulateRare(groups: number): Promise<RareCost> {
  const { pool, desk, apps } = await calmHouse(groups);
  const last = apps.at(-1);
  const group = [...pool.groups()].at(-1);
  assert(last !== undefined && group !== undefined);
  const session = pool.checkout(last, { onSession: () => undefined, onFailure: () => undefined });
  assert('target' in session, 'its process is free');
  const meanUs = (event: () => void): number => {
    const begun = performance.now();
    for (let round = 0; round < RARE_EVENTS; round += 1) event();
    return ((performance.now() - begun) * 1000) / RARE_EVENTS;
  };
  return {
    newsUs: meanUs(() => desk.groupChanged(group)),
    overdueUs: meanUs(() => pool.reportOverdue(session, 'time')),
  };
}
