/**
 * What the whole server goes through: a reload of Apache, the adoption of what an earlier core has started, and the
 * stop. Single requests and processes do not come here. Owned by the pool, which is called by the composition root.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import { deferred, type Deferred } from '../base/deferred.js';
import { PassengerError } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { AppConfig } from '../config/app-config.js';
import type { ServerSettings } from '../config/settings.js';
import type { AppProcessHandle } from '../spawn/spawner.js';
import type { AppGroup } from './app-group.js';
import type { Housekeeping } from './housekeeping.js';
import type { LoadWatch } from './load-watch.js';
import type { MemoryWatch } from './memory-watch.js';
import type { Room } from './room.js';
import type { Roster } from './roster.js';
import type { Turn } from './turn.js';

/** A process that an earlier core started and the supervisor has kept. */
export interface AdoptedProcess {
  readonly handle: AppProcessHandle;
  readonly config: AppConfig;
  /** What the earlier pool gave to Spawner.spawn. */
  readonly generation: number;
}

export interface ServerLifeHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly turn: Turn;
  readonly roster: Roster;
  readonly room: Room;
  readonly housekeeping: Housekeeping;
  readonly loads: LoadWatch;
  readonly memoryWatch: MemoryWatch;
}

/** After a reload, groups without traffic are redeployed after this time, with the settings that are known. */
const REDEPLOY_AFTER_MS = 1000;
/** Adopted groups get their minimum after this time, when all have been adopted. */
const ADOPTION_MS = 1000;
/** How long `stop` waits for processes that were killed. */
const AFTER_KILL_MS = 1000;
/** What a process gets that is adopted when the stop has begun. */
const STOP_LATE_MS = 2000;

/** What requests get that wait or come when the server stops. */
export const stoppingError = (): PassengerError => new PassengerError('PSG5010');

export class ServerLife {
  #server: ServerSettings;
  #reloadedAt: number | undefined;
  #reloadTimer: ClockTimer | undefined;
  #adoptionTimer: ClockTimer | undefined;
  #stopTimer: ClockTimer | undefined;
  #stopped: Deferred<void> | undefined;

  constructor(
    private readonly host: ServerLifeHost,
    server: ServerSettings,
  ) {
    this.#server = server;
  }

  /** The settings as they are now. */
  get server(): ServerSettings {
    return this.#server;
  }
  /** When Apache has last read its configuration anew. */
  get reloadedAt(): number | undefined {
    return this.#reloadedAt;
  }
  get adopting(): boolean {
    return this.#adoptionTimer !== undefined;
  }
  get stopping(): boolean {
    return this.#stopped !== undefined;
  }

  // --- reload

  /** Apache has read its configuration anew. */
  reload(server: ServerSettings, generation: number): void {
    if (this.stopping) return;
    const { clock, turn, roster, room, housekeeping, memoryWatch } = this.host;
    turn.run(() => {
      this.#server = server;
      roster.directory.advance(generation);
      this.#reloadedAt = clock.now();
      for (const group of roster.directory.all()) {
        group.refreshLimits();
        memoryWatch.groupChanged(group);
      }
      room.limitChanged();
    });
    if (this.#reloadTimer !== undefined) clock.clearTimeout(this.#reloadTimer);
    this.#reloadTimer = clock.setTimeout(() => turn.run(() => this.#redeployQuiet()), REDEPLOY_AFTER_MS);
    housekeeping.reloaded();
  }

  #redeployQuiet(): void {
    this.#reloadTimer = undefined;
    const { directory } = this.host.roster;
    for (const group of directory.unconfirmed()) {
      if (group.redeployed >= directory.generation || !group.limits.redeployOnReload) continue;
      group.redeployed = directory.generation;
      group.redeploy('reload');
    }
  }

  // --- adoption

  /** Takes over a running process. Called for all of them before the first checkout. */
  adopt({ handle, config, generation }: AdoptedProcess): void {
    const { clock, turn, roster } = this.host;
    if (!this.stopping) {
      this.#adoptionTimer ??= clock.setTimeout(() => this.#adoptionOver(), ADOPTION_MS);
    }
    turn.run(() => {
      let group = roster.directory.find(config.groupKey);
      if (group === undefined) {
        group = roster.create(config, roster.directory.generation, generation);
        // The next request tells whether the settings are still these.
        group.confirmed = 0;
      }
      group.adopt(handle, generation);
      if (this.stopping) this.#retire(group, STOP_LATE_MS);
    });
  }

  #adoptionOver(): void {
    this.#adoptionTimer = undefined;
    const { turn, roster, room } = this.host;
    turn.run(() => {
      for (const group of roster.directory.all()) {
        group.adoptionOver();
        room.changed(group);
      }
    });
  }

  // --- stop

  /**
   * No more requests. Processes get half of the time to finish theirs and half to exit; what is left is killed.
   * Resolves when all have exited, or soon after the deadline.
   */
  stop(deadlineMs: number): Promise<void> {
    if (this.#stopped !== undefined) return this.#stopped.promise;
    const stopped = (this.#stopped = deferred<void>());
    const { clock, turn, roster, room, housekeeping, loads } = this.host;
    housekeeping.close();
    room.close();
    loads.close();
    for (const timer of [this.#reloadTimer, this.#adoptionTimer]) {
      if (timer !== undefined) clock.clearTimeout(timer);
    }
    turn.run(() => {
      for (const group of [...roster.all()]) {
        group.requests.failAll(stoppingError());
        this.#retire(group, deadlineMs);
      }
      this.#stopTimer = clock.setTimeout(() => this.#killAll(), deadlineMs);
    });
    return stopped.promise;
  }

  #retire(group: AppGroup, withinMs: number): void {
    group.retire('server stops', withinMs / 2, withinMs / 2);
    this.host.roster.leave(group);
  }

  #killAll(): void {
    const { clock, log, roster } = this.host;
    for (const group of roster.leaving) for (const process of group.members) process.kill();
    this.#stopTimer = clock.setTimeout(() => {
      for (const group of roster.leaving) {
        for (const process of group.members) log.report('PSG5012', { pid: process.pid });
      }
      this.#ended();
    }, AFTER_KILL_MS);
  }

  /** At the end of each turn: a stop is over as soon as nothing is left. */
  followUp(): void {
    if (!this.stopping || this.host.roster.leaving.size > 0) return;
    if (this.#stopTimer !== undefined) this.host.clock.clearTimeout(this.#stopTimer);
    this.#ended();
  }

  #ended(): void {
    this.host.memoryWatch.close();
    this.#stopped?.resolve();
  }
}
