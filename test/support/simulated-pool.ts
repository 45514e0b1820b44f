/**
 * A pool for a great many apps, on a clock of its own and without processes. What is tried with it: pool-simulation.ts
 * (requests), calm-simulation.ts (none).
 */
import { Heap } from '../../core/base/heap.js';
import type { Clock, ClockTimer } from '../../core/base/clock.js';
import { Log, LogThreshold } from '../../core/base/log.js';
import { makeAppConfig, type AppConfig } from '../../core/config/app-config.js';
import { settingsFrom } from '../../core/config/settings.js';
import type { AppGroup } from '../../core/pool/app-group.js';
import { Pool } from '../../core/pool/pool.js';
import { AppRegistry } from '../../core/routing/app-registry.js';
import { choose } from '../../core/routing/choose.js';
import type { FakeSpawner } from './fake-spawner.js';

/** The highest PassengerMaxPoolSize. */
export const MOST_PLACES = 65_535;

class SimulatedTimer implements ClockTimer {
  readonly kind = 'clock-timer';
  constructor(readonly run: () => void) {}
}

/** Like FakeClock, for a great many timers. Counts those that have run. */
export class SimulatedClock implements Clock {
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

export function configs(count: number, texts: Readonly<Record<string, string>>): AppConfig[] {
  const settings = settingsFrom('app', texts);
  return Array.from({ length: count }, (_, index) => {
    const appRoot = `/srv/app${index}`;
    const documentRoot = `${appRoot}/public`;
    const facts = { appRoot, baseUri: '/', documentRoot, found: 'node' as const, foundStartupFile: 'app.js' };
    return makeAppConfig({ ...facts, env: [] }, settings);
  });
}

/** @param looked called for each question about a file */
export function makePool(
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

/** In steps of a second. */
export async function pass(clock: SimulatedClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 1000) {
    clock.advance(1000);
    for (let job = 0; job < 8; job += 1) await Promise.resolve();
  }
}
