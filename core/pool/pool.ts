/**
 * The pool: all app groups, the room that they share, and what the whole server goes through (reload, stop). Called
 * by the gateway (checkout) and by the composition root; it starts processes through a Spawner and never does I/O.
 * The pool outlives its groups, a group its processes, a process its sessions.
 *
 * Rules (executed by invariants.ts):
 *  1. Room: starting and ready processes together are at most PassengerMaxPoolSize, plus the substitutes that are
 *     starting (deployment.ts). (A lowered limit is reached by draining.)
 *  2. A group with waiting requests and no process at all starves when the pool is full: the longest idle process
 *     of a group above its minimum, or else of any group, makes way, and after a while a busy one; groups are served in
 *     the order of starving.
 *  3. The minimum of each group is kept from the moment it exists, after starving groups, unless a pause lasts.
 *  4. Changes are complete before anybody hears of them (turn.ts).
 */
import { availableParallelism } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import type { Clock, ClockTimer } from '../base/clock.js';
import { deferred, type Deferred } from '../base/deferred.js';
import { PassengerError } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { AppConfig } from '../config/app-config.js';
import type { ServerSettings } from '../config/settings.js';
import type { AppProcessHandle, Spawner } from '../spawn/spawner.js';
import { AppGroup } from './app-group.js';
import type { AppProcess, ProcessState } from './app-process.js';
import type { GroupHost } from './group-host.js';
import { Housekeeping, type HousekeepingHost } from './housekeeping.js';
import { LoadWatch } from './load-watch.js';
import { MemoryWatch, type MemoryQuestions, type MemoryWatchHost } from './memory-watch.js';
import type { OverdueLimit } from './life-signs.js';
import type { FileQuestions } from './restart-watch.js';
import { Room, type RoomHost } from './room.js';
import type { Session, StickyWish } from './session.js';
import { groupSnapshot, type PoolSnapshot } from './snapshot.js';
import { Turn } from './turn.js';
import { WaitingEntry, type Ticket, type Waiter } from './waiting-list.js';
import { WaitingTotal } from './waiting-total.js';

/** Which group serves what; implemented by routing/app-registry.ts. */
export interface GroupDirectory {
  readonly generation: number;
  find(key: string): AppGroup | undefined;
  add(group: AppGroup): void;
  remove(group: AppGroup): void;
  all(): Iterable<AppGroup>;
  advance(generation: number): void;
  confirm(group: AppGroup, generation: number): boolean;
  unconfirmed(): AppGroup[];
  /** Other groups with its name. */
  namesakes(group: AppGroup): AppGroup[];
}

/** Who hears, at the end of a turn, which processes serve which group. */
export interface PoolAudience {
  /** Processes of the group have become ready or have exited. */
  groupChanged(group: AppGroup): void;
  /** The group has ended; another one with its key may be there already. */
  groupGone(group: AppGroup): void;
}

export interface PoolServices {
  readonly spawner: Spawner;
  readonly files: FileQuestions;
  readonly memory: MemoryQuestions;
  /** Holds the generation at which the pool starts. */
  readonly registry: GroupDirectory;
  /** routing/choose.ts */
  readonly choose: (candidates: readonly AppProcess[]) => AppProcess | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly server: ServerSettings;
  /** Event loops that can run at the same time; undefined: as many as this machine has processor cores for us. */
  readonly cores?: number;
  /** A number from 0 up to 1, for the jitter of pauses. */
  readonly random?: () => number;
  /** Called after each change, before anybody hears of it: invariants, in tests. */
  readonly audit?: (pool: Pool) => void;
}

export interface CheckoutOptions {
  /** 0 or undefined: the start timeout and half a minute. */
  readonly maxQueueTimeMs?: number;
  /** The reload generation that the request's configuration belongs to; undefined: the current one. */
  readonly generation?: number;
  /** Undefined: any process will do. */
  readonly sticky?: StickyWish;
}

/** A process that an earlier core started and the supervisor has kept. */
export interface AdoptedProcess {
  readonly handle: AppProcessHandle;
  readonly config: AppConfig;
  /** What the earlier pool gave to Spawner.spawn. */
  readonly generation: number;
}

const NO_OPTIONS: CheckoutOptions = {};
/** After a reload, groups without traffic are redeployed after this time, with the settings that are known. */
const REDEPLOY_AFTER_MS = 1000;
/** Adopted groups get their minimum after this time, when all have been adopted. */
const ADOPTION_MS = 1000;
/** How long `stop` waits for processes that were killed. */
const AFTER_KILL_MS = 1000;
/** What a process gets that is adopted when the stop has begun. */
const STOP_LATE_MS = 2000;

const stoppingError = (): PassengerError => new PassengerError('PSG5010');

export class Pool implements GroupHost, RoomHost, HousekeepingHost, MemoryWatchHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly turn: Turn;
  readonly spawner: Spawner;
  readonly files: FileQuestions;
  readonly memory: MemoryQuestions;
  readonly random: () => number;
  readonly waitingTotal: WaitingTotal;
  readonly choose: (candidates: readonly AppProcess[]) => AppProcess | undefined;
  readonly #registry: GroupDirectory;
  #server: ServerSettings;
  /** Groups that are not in the registry any more and still have processes. */
  readonly #leaving = new Set<AppGroup>();
  readonly #room: Room;
  readonly #housekeeping: Housekeeping;
  readonly #loads: LoadWatch;
  readonly #memoryWatch = new MemoryWatch(this);
  /** Gateway threads, where there are any. */
  audience: PoolAudience | undefined;
  readonly #moved = new Set<AppGroup>();
  /** Groups whose waiting requests may have to look for another process. */
  readonly #left = new Set<AppGroup>();
  #reloadedAt: number | undefined;
  #reloadTimer: ClockTimer | undefined;
  #adoptionTimer: ClockTimer | undefined;
  #stopTimer: ClockTimer | undefined;
  #stopped: Deferred<void> | undefined;

  constructor(services: PoolServices) {
    this.clock = services.clock;
    this.log = services.log;
    this.spawner = services.spawner;
    this.files = services.files;
    this.memory = services.memory;
    this.random = services.random ?? Math.random;
    this.choose = services.choose;
    this.#registry = services.registry;
    this.#server = services.server;
    this.waitingTotal = new WaitingTotal(this);
    this.#room = new Room(this);
    this.#housekeeping = new Housekeeping(this, this.#room.idle);
    this.#loads = new LoadWatch(this, services.cores ?? availableParallelism());
    this.turn = new Turn(() => {
      this.#followUp();
      services.audit?.(this);
    });
  }

  get server(): ServerSettings {
    return this.#server;
  }
  get generation(): number {
    return this.#registry.generation;
  }
  get capacityUsed(): number {
    return this.#room.occupied;
  }
  get maxPoolSize(): number {
    return this.#server.maxPoolSize;
  }
  get adopting(): boolean {
    return this.#adoptionTimer !== undefined;
  }
  get reloadedAt(): number | undefined {
    return this.#reloadedAt;
  }
  get stopping(): boolean {
    return this.#stopped !== undefined;
  }
  /** Groups that would start processes if there were room. */
  get hungry(): Pick<Room, 'starving' | 'isShort' | 'shrinking'> {
    return this.#room;
  }

  active(): Iterable<AppGroup> {
    return this.#registry.all();
  }

  /** Also those that get no more requests. */
  *groups(): Generator<AppGroup> {
    yield* this.#registry.all();
    yield* this.#leaving;
  }

  // --- requests

  /** A session at once where a process is free, else a ticket for the waiting list; the waiter is told later. */
  checkout(config: AppConfig, waiter: Waiter, options: CheckoutOptions = NO_OPTIONS): Session | Ticket {
    const now = this.clock.now();
    const group = this.#registry.find(config.groupKey);
    if (group !== undefined && (options.generation ?? this.#registry.generation) <= group.confirmed) {
      const session = group.take(now, options.sticky);
      if (session !== undefined) return session;
    }
    const answer = this.turn.run(() => this.#enter(config, waiter, options, now));
    if (answer instanceof WaitingEntry) answer.fresh = false;
    return answer;
  }

  #enter(config: AppConfig, waiter: Waiter, options: CheckoutOptions, now: number): Session | Ticket {
    if (this.stopping) return this.#refuse(waiter, now);
    const generation = options.generation ?? this.#registry.generation;
    const known = this.#registry.find(config.groupKey);
    const group = known ?? this.#create(config, generation);
    this.#confirm(group, config, generation);
    if (known === undefined) this.#retireForerunners(group);
    const session = group.take(now, options.sticky);
    if (session !== undefined) return session;
    return group.enter(waiter, options.maxQueueTimeMs ?? 0, now, options.sticky);
  }

  #refuse(waiter: Waiter, now: number): Ticket {
    const entry = new WaitingEntry(waiter, now, now, () => undefined);
    entry.tell(
      () => waiter.onFailure(stoppingError()),
      () => undefined,
    );
    return entry;
  }

  #create(config: AppConfig, generation: number, code = generation): AppGroup {
    const group = new AppGroup(config, generation, this, code);
    this.#registry.add(group);
    this.#room.changed(group);
    if (!this.stopping) this.#housekeeping.groupAdded(group);
    return group;
  }

  /**
   * Settings that make a group of their own (user, variables of the virtual host …) may change at a reload. The group
   * that served the site before is then known by its name, and by nobody having asked for it since the reload.
   */
  #retireForerunners(group: AppGroup): void {
    for (const other of this.#registry.namesakes(group)) {
      if (other.confirmed >= this.generation) continue;
      if (other.queue.size > 0 || other.held > 0) continue;
      this.dismiss(other, 'its settings changed');
    }
  }

  /** The first request of a generation brings the settings that hold from now on. */
  #confirm(group: AppGroup, config: AppConfig, generation: number): void {
    if (!this.#registry.confirm(group, generation)) return;
    const changed = group.config !== config && !isDeepStrictEqual(group.config, config);
    group.adoptConfig(config);
    this.#memoryWatch.groupChanged(group);
    const due = group.redeployed < generation && group.limits.redeployOnReload;
    group.redeployed = Math.max(group.redeployed, generation);
    if (due || changed) group.redeploy(changed ? 'configuration changed' : 'reload');
  }

  /** The process of this session refuses connections; the gateway closes the session and checks out another. */
  reportConnectFailure(session: Session): void {
    this.#withServing(session, (group, process) => this.unreachable(group, process));
  }

  /** The request of this session has run out of time; the gateway closes the session. */
  reportOverdue(session: Session, limit: OverdueLimit): void {
    this.#withServing(session, (group, process) => this.overdue(group, process, limit));
  }

  #withServing(session: Session, act: (group: AppGroup, process: AppProcess) => void): void {
    for (const group of this.groups()) {
      const process = group.serving.find((other) => other === session.process);
      if (process !== undefined) {
        act(group, process);
        return;
      }
    }
  }

  overdue(group: AppGroup, process: AppProcess, limit: OverdueLimit): void {
    this.turn.run(() => group.lifeSigns.overdue(process, limit));
  }

  unreachable(group: AppGroup, process: AppProcess): void {
    this.turn.run(() => group.losses.unreachable(process));
  }

  /** The configuration that a group runs with. */
  configOf(groupKey: string): AppConfig | undefined {
    return this.#registry.find(groupKey)?.config;
  }

  // --- what the server goes through

  /** Apache has read its configuration anew. */
  reload(server: ServerSettings, generation: number): void {
    if (this.stopping) return;
    this.turn.run(() => {
      this.#server = server;
      this.#registry.advance(generation);
      this.#reloadedAt = this.clock.now();
      for (const group of this.#registry.all()) {
        group.refreshLimits();
        this.#memoryWatch.groupChanged(group);
      }
      this.#room.limitChanged();
    });
    if (this.#reloadTimer !== undefined) this.clock.clearTimeout(this.#reloadTimer);
    this.#reloadTimer = this.clock.setTimeout(
      () => this.turn.run(() => this.#redeployQuiet()),
      REDEPLOY_AFTER_MS,
    );
    this.#housekeeping.reloaded();
  }

  #redeployQuiet(): void {
    this.#reloadTimer = undefined;
    for (const group of this.#registry.unconfirmed()) {
      if (group.redeployed >= this.generation || !group.limits.redeployOnReload) continue;
      group.redeployed = this.generation;
      group.redeploy('reload');
    }
  }

  /** Takes over a running process. Called for all of them before the first checkout. */
  adopt(adopted: AdoptedProcess): void {
    const { handle, config, generation } = adopted;
    if (!this.stopping)
      this.#adoptionTimer ??= this.clock.setTimeout(() => this.#adoptionOver(), ADOPTION_MS);
    this.turn.run(() => {
      let group = this.#registry.find(config.groupKey);
      if (group === undefined) {
        group = this.#create(config, this.generation, generation);
        // The next request tells whether the settings are still these.
        group.confirmed = 0;
      }
      group.adopt(handle, generation);
      if (this.stopping) this.#retireNow(group, STOP_LATE_MS);
    });
  }

  #adoptionOver(): void {
    this.#adoptionTimer = undefined;
    this.turn.run(() => {
      for (const group of this.#registry.all()) {
        group.adoptionOver();
        this.#room.changed(group);
      }
    });
  }

  /** @returns whether there is such a group */
  restart(groupKey: string, reason: string): boolean {
    const group = this.#registry.find(groupKey);
    if (group === undefined) return false;
    this.turn.run(() => group.restart(reason));
    return true;
  }

  /**
   * No more requests. Processes get half of the time to finish theirs and half to exit; what is left is killed.
   * Resolves when all have exited, or soon after the deadline.
   */
  stop(deadlineMs: number): Promise<void> {
    if (this.#stopped !== undefined) return this.#stopped.promise;
    const stopped = (this.#stopped = deferred<void>());
    this.#housekeeping.close();
    this.#room.close();
    this.#loads.close();
    for (const timer of [this.#reloadTimer, this.#adoptionTimer]) {
      if (timer !== undefined) this.clock.clearTimeout(timer);
    }
    this.turn.run(() => {
      for (const group of [...this.groups()]) {
        group.failAll(stoppingError());
        this.#retireNow(group, deadlineMs);
      }
      this.#stopTimer = this.clock.setTimeout(() => this.#killAll(), deadlineMs);
    });
    return stopped.promise;
  }

  #retireNow(group: AppGroup, withinMs: number): void {
    group.retire('server stops', withinMs / 2, withinMs / 2);
    this.#leave(group);
  }

  #killAll(): void {
    for (const group of this.#leaving) for (const process of group.members) process.kill();
    this.#stopTimer = this.clock.setTimeout(() => {
      for (const group of this.#leaving) {
        for (const process of group.members) this.log.report('PSG5012', { pid: process.pid });
      }
      this.#ended();
    }, AFTER_KILL_MS);
  }

  // --- what groups tell

  processMoved(group: AppGroup, process: AppProcess, from: ProcessState, to: ProcessState): void {
    this.#room.moved(group, process, from, to);
    if (to === 'starting') this.#memoryWatch.groupChanged(group);
    if (to === 'ready' || to === 'exited') this.#moved.add(group);
    if (to === 'ready' && !this.stopping) this.#loads.add(group);
    if (from === 'ready') this.#left.add(group);
    if (to === 'exited' && group.retired) this.#leave(group);
  }

  needsChanged(group: AppGroup): void {
    this.#room.changed(group);
  }

  processIdle(group: AppGroup, process: AppProcess): void {
    this.#room.becameIdle(group, process);
  }

  #followUp(): void {
    this.#settle();
    for (const group of this.#moved) this.audience?.groupChanged(group);
    this.#moved.clear();
    if (this.stopping && this.#leaving.size === 0) this.#allGone();
  }

  /** Only now, because all processes of a group may leave in one turn. */
  #settle(): void {
    do {
      for (const group of this.#left) group.dispatch();
      this.#left.clear();
      this.#room.followUp();
    } while (this.#left.size > 0);
  }

  dismiss(group: AppGroup, reason: string): void {
    group.retire(reason);
    this.#leave(group);
  }

  /** A retired group goes as soon as its last process has exited. */
  #leave(group: AppGroup): void {
    this.#registry.remove(group);
    this.#room.forget(group);
    this.#housekeeping.groupGone(group);
    if (group.members.size > 0) this.#leaving.add(group);
    else {
      this.#leaving.delete(group);
      this.#moved.delete(group);
      this.audience?.groupGone(group);
    }
  }

  #allGone(): void {
    if (this.#stopTimer !== undefined) this.clock.clearTimeout(this.#stopTimer);
    this.#ended();
  }

  #ended(): void {
    this.#memoryWatch.close();
    this.#stopped?.resolve();
  }

  snapshot(): PoolSnapshot {
    const now = this.clock.now();
    const groups = [...this.groups()].map((group) =>
      groupSnapshot(group, now, (process) => this.#memoryWatch.bytesOf(process)),
    );
    return {
      takenAt: this.clock.wall(),
      generation: this.generation,
      maxPoolSize: this.#server.maxPoolSize,
      capacityUsed: this.capacityUsed,
      processCount: groups.reduce((count, group) => count + group.processes.length, 0),
      starvingGroups: this.#room.starving.size,
      stopping: this.stopping,
      groups,
    };
  }
}
