/**
 * Looks every two seconds at the groups whose processes report the load of their event loops, and has them grow or
 * shrink as load.ts says. Owned by the pool, which tells it who has processes. One timer for all, and none while no
 * group has any: groups without processes cost nothing.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import type { ServerSettings } from '../config/settings.js';
import type { AppGroup } from './app-group.js';
import type { AppProcess } from './app-process.js';
import { poolLimits } from './limits.js';
import { decideLoad, NO_MEMORY, type LoadFacts, type LoadMemory } from './load.js';
import type { Turn } from './turn.js';

export interface LoadWatchHost {
  readonly clock: Clock;
  readonly turn: Turn;
  readonly server: ServerSettings;
}

const LOOK_MS = 2000;
/** When a look comes this late, the core itself was not listening, and silence means nothing. */
const LATE_MS = 1000;
/** Processes that have not reported for so long after their start never will. */
const UNHEARD_MS = 60_000;

export class LoadWatch {
  readonly #groups = new Map<AppGroup, LoadMemory>();
  #timer: ClockTimer | undefined;
  #due = 0;
  #listeningSince: number;

  constructor(
    private readonly host: LoadWatchHost,
    /** Event loops that can run at the same time. */
    private readonly cores: number,
  ) {
    this.#listeningSince = host.clock.now();
  }

  /** A process of the group has begun to serve. */
  add(group: AppGroup): void {
    if (!this.#groups.has(group)) this.#groups.set(group, NO_MEMORY);
    this.#arm();
  }

  close(): void {
    if (this.#timer !== undefined) this.host.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#groups.clear();
  }

  #arm(): void {
    if (this.#timer !== undefined) return;
    const { clock, turn } = this.host;
    this.#due = clock.now() + LOOK_MS;
    this.#timer = clock.setTimeout(() => {
      this.#timer = undefined;
      turn.run(() => this.#lookAtAll());
    }, LOOK_MS);
  }

  #lookAtAll(): void {
    const now = this.host.clock.now();
    if (now - this.#due > LATE_MS) this.#listeningSince = now;
    const { idleMs } = poolLimits(this.host.server);
    for (const [group, memory] of this.#groups) this.#look(group, memory, idleMs, now);
    if (this.#groups.size > 0) this.#arm();
  }

  #look(group: AppGroup, memory: LoadMemory, idleMs: number, now: number): void {
    if (settled(group)) {
      if (memory !== NO_MEMORY) this.#groups.set(group, NO_MEMORY);
      group.setSaturated(false);
      return;
    }
    const facts = this.#factsOf(group, idleMs, now);
    const unheard = facts.loops.every((loop) => loop === undefined) && facts.youngestMs > UNHEARD_MS;
    if (facts.loops.length === 0 || unheard) {
      this.#groups.delete(group);
      group.setSaturated(false);
      return;
    }
    const decision = decideLoad(memory, facts);
    this.#groups.set(group, decision.memory);
    group.setSaturated(decision.move === 'grow');
    if (decision.move === 'shrink') leastBusy(group.serving)?.drain('fewer processes can do the work');
  }

  #factsOf(group: AppGroup, idleMs: number, now: number): LoadFacts {
    const { serving, limits } = group;
    const loops: (number | undefined)[] = [];
    let sessions = group.queue.size;
    let youngestMs = Infinity;
    for (const process of serving) {
      loops.push(process.loop.at(now, this.#listeningSince));
      sessions += process.sessions;
      youngestMs = Math.min(youngestMs, process.livedMs(now));
    }
    return {
      now,
      loops,
      sessions,
      concurrency: serving[0]?.concurrency ?? 0,
      moving: group.deployment !== 'settled' || group.starting > 0,
      youngestMs,
      minInstances: limits.minInstances,
      maxInstances: limits.maxInstances,
      cores: this.cores,
      idleMs,
    };
  }
}

/**
 * Whether its number of processes stays as it is whatever the loops say (load.ts): no more sessions than processes, and
 * none that might leave. So it is with groups that nobody asks for, and there may be many of them.
 */
function settled({ serving, queue, limits }: AppGroup): boolean {
  if (serving.length === 0 || serving.length > Math.max(1, limits.minInstances)) return false;
  let sessions = queue.size;
  for (const process of serving) sessions += process.sessions;
  return sessions <= serving.length;
}

/** Fewest sessions; among equals the one that was used least recently. */
function leastBusy(serving: readonly AppProcess[]): AppProcess | undefined {
  return [...serving].sort((a, b) =>
    a.sessions === b.sessions ? a.turn - b.turn : a.sessions - b.sessions,
  )[0];
}
