/**
 * The pool: all app groups and the room that they share. Called by the gateway (checkout) and by the composition root;
 * it starts processes through a Spawner and never does I/O. Here its parts come together, and here a request comes in;
 * which groups there are is in roster.ts, what the whole server goes through (reload, adoption, stop) in server-life.ts.
 * The pool outlives its groups, a group its processes, a process its sessions.
 *
 * Rules (executed by invariants.ts):
 *  1. Room: starting and ready processes together are at most PassengerMaxPoolSize, plus the substitutes that are
 *     starting (deployment.ts). (A lowered limit is reached by draining.)
 *  2. A group with waiting requests and no process at all starves when the pool is full: the longest idle process
 *     of a group above its minimum, or else of one with several, or of any, makes way, and after a while a busy one;
 *     groups are served in the order of starving.
 *  3. The minimum of each group is kept from the moment it exists, after starving groups, unless a pause lasts.
 *  4. Changes are complete before anybody hears of them (turn.ts).
 */
import { availableParallelism } from 'node:os';
import type { Clock } from '../base/clock.js';
import type { Log } from '../base/log.js';
import type { AppConfig } from '../config/app-config.js';
import type { ServerSettings } from '../config/settings.js';
import type { Spawner } from '../spawn/spawner.js';
import type { AppGroup } from './app-group.js';
import type { AppProcess, ProcessState } from './app-process.js';
import { Housekeeping, type HousekeepingHost } from './housekeeping.js';
import type { OverdueLimit } from './life-signs.js';
import { LoadWatch } from './load-watch.js';
import { MemoryWatch, type MemoryQuestions, type MemoryWatchHost } from './memory-watch.js';
import { RestartRounds } from './restart-rounds.js';
import type { FileQuestions } from './restart-watch.js';
import { Room, type RoomHost } from './room.js';
import { Roster, type GroupDirectory, type RosterHost } from './roster.js';
import { ServerLife, stoppingError, type AdoptedProcess, type ServerLifeHost } from './server-life.js';
import type { ProcessView, Session, StickyWish } from './session.js';
import { SilenceWatch } from './silence-watch.js';
import { groupSnapshot, type PoolSnapshot } from './snapshot.js';
import { Turn } from './turn.js';
import { WaitingEntry, type Ticket, type Waiter } from './waiting-list.js';
import { WaitingTotal } from './waiting-total.js';

export type { AdoptedProcess } from './server-life.js';

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

interface Serving {
  readonly group: AppGroup;
  readonly process: AppProcess;
}

const NO_OPTIONS: CheckoutOptions = {};

export class Pool implements RosterHost, RoomHost, HousekeepingHost, MemoryWatchHost, ServerLifeHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly turn: Turn;
  readonly spawner: Spawner;
  readonly files: FileQuestions;
  readonly memory: MemoryQuestions;
  readonly random: () => number;
  readonly choose: (candidates: readonly AppProcess[]) => AppProcess | undefined;
  readonly waitingTotal: WaitingTotal;
  readonly rounds: RestartRounds;
  readonly silence: SilenceWatch;
  readonly room: Room;
  readonly housekeeping: Housekeeping;
  readonly loads: LoadWatch;
  readonly memoryWatch: MemoryWatch;
  readonly roster: Roster;
  readonly #registry: GroupDirectory;
  readonly #life: ServerLife;
  /** Gateway threads, where there are any. */
  audience: PoolAudience | undefined;
  /** Ready processes of all groups. */
  readonly #serving = new Map<ProcessView, Serving>();
  /** Groups that the audience is to hear of. */
  readonly #moved = new Set<AppGroup>();
  /** Groups whose waiting requests may have to look for another process. */
  readonly #left = new Set<AppGroup>();

  constructor(services: PoolServices) {
    this.clock = services.clock;
    this.log = services.log;
    this.spawner = services.spawner;
    this.files = services.files;
    this.memory = services.memory;
    this.random = services.random ?? Math.random;
    this.choose = services.choose;
    this.#registry = services.registry;
    this.#life = new ServerLife(this, services.server);
    this.rounds = new RestartRounds(this.clock);
    this.silence = new SilenceWatch(this.clock);
    this.waitingTotal = new WaitingTotal(this);
    this.room = new Room(this);
    this.housekeeping = new Housekeeping(this, this.room.idle);
    this.loads = new LoadWatch(this, services.cores ?? availableParallelism());
    this.memoryWatch = new MemoryWatch(this);
    this.roster = new Roster(services.registry, this);
    this.turn = new Turn(() => {
      this.#followUp();
      services.audit?.(this);
    });
  }

  get server(): ServerSettings {
    return this.#life.server;
  }
  get generation(): number {
    return this.#registry.generation;
  }
  get capacityUsed(): number {
    return this.room.occupied;
  }
  get maxPoolSize(): number {
    return this.server.maxPoolSize;
  }
  get adopting(): boolean {
    return this.#life.adopting;
  }
  get reloadedAt(): number | undefined {
    return this.#life.reloadedAt;
  }
  get stopping(): boolean {
    return this.#life.stopping;
  }
  /** Groups that would start processes if there were room. */
  get hungry(): Pick<Room, 'starving' | 'isShort' | 'shrinking'> {
    return this.room;
  }

  active(): Iterable<AppGroup> {
    return this.#registry.all();
  }

  /** Also those that get no more requests. */
  groups(): Iterable<AppGroup> {
    return this.roster.all();
  }

  /** The configuration that a group runs with. */
  configOf(groupKey: string): AppConfig | undefined {
    return this.#registry.find(groupKey)?.config;
  }

  // --- requests

  /** A session at once where a process is free, else a ticket for the waiting list; the waiter is told later. */
  checkout(config: AppConfig, waiter: Waiter, options: CheckoutOptions = NO_OPTIONS): Session | Ticket {
    const now = this.clock.now();
    const group = this.#registry.find(config.groupKey);
    if (group !== undefined && (options.generation ?? this.#registry.generation) <= group.confirmed) {
      const session = group.requests.take(now, options.sticky);
      if (session !== undefined) return session;
    }
    const answer = this.turn.run(() => this.#enter(config, waiter, options, now));
    if (answer instanceof WaitingEntry) answer.fresh = false;
    return answer;
  }

  #enter(config: AppConfig, waiter: Waiter, options: CheckoutOptions, now: number): Session | Ticket {
    if (this.stopping) return this.#refuse(waiter, now);
    const { requests } = this.roster.groupFor(config, options.generation ?? this.generation);
    const session = requests.take(now, options.sticky);
    if (session !== undefined) return session;
    return requests.enter(waiter, options.maxQueueTimeMs ?? 0, now, options.sticky);
  }

  #refuse(waiter: Waiter, now: number): Ticket {
    const entry = new WaitingEntry(waiter, now, now, () => undefined);
    entry.tell(
      () => waiter.onFailure(stoppingError()),
      () => undefined,
    );
    return entry;
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
    const serving = this.#serving.get(session.process);
    if (serving !== undefined) act(serving.group, serving.process);
  }

  overdue(group: AppGroup, process: AppProcess, limit: OverdueLimit): void {
    this.turn.run(() => group.lifeSigns.overdue(process, limit));
  }

  unreachable(group: AppGroup, process: AppProcess): void {
    this.turn.run(() => group.losses.unreachable(process));
  }

  // --- orders

  /** @returns whether there is such a group */
  restart(groupKey: string, reason: string): boolean {
    const group = this.#registry.find(groupKey);
    if (group === undefined) return false;
    this.turn.run(() => group.restart(reason));
    return true;
  }

  /** Apache has read its configuration anew. */
  reload(server: ServerSettings, generation: number): void {
    this.#life.reload(server, generation);
  }

  /** Takes over a running process. Called for all of them before the first checkout. */
  adopt(adopted: AdoptedProcess): void {
    this.#life.adopt(adopted);
  }

  /** No more requests. Resolves when all processes have exited, or soon after the deadline. */
  stop(deadlineMs: number): Promise<void> {
    return this.#life.stop(deadlineMs);
  }

  dismiss(group: AppGroup, reason: string): void {
    this.roster.dismiss(group, reason);
  }

  // --- what groups tell, and what follows from it at the end of a turn

  processMoved(group: AppGroup, process: AppProcess, from: ProcessState, to: ProcessState): void {
    this.room.moved(group, process, from, to);
    if (to === 'ready') this.#serving.set(process, { group, process });
    if (from === 'ready') this.#serving.delete(process);
    if (to === 'starting') this.memoryWatch.groupChanged(group);
    if (to === 'ready' || to === 'exited') this.#moved.add(group);
    if (to === 'ready' && !this.stopping) this.loads.add(group);
    if (from === 'ready') this.#left.add(group);
    if (to === 'exited' && group.retired) this.roster.leave(group);
  }

  needsChanged(group: AppGroup): void {
    this.room.changed(group);
  }

  processProves(group: AppGroup, process: AppProcess): void {
    this.room.proves(process);
    this.room.changed(group);
  }

  processIdle(group: AppGroup, process: AppProcess): void {
    this.room.becameIdle(group, process);
  }

  groupGone(group: AppGroup): void {
    this.#moved.delete(group);
    this.audience?.groupGone(group);
  }

  #followUp(): void {
    this.#settle();
    for (const group of this.#moved) this.audience?.groupChanged(group);
    this.#moved.clear();
    this.#life.followUp();
  }

  /** Only now, because all processes of a group may leave in one turn. */
  #settle(): void {
    do {
      for (const group of this.#left) group.requests.dispatch();
      this.#left.clear();
      this.room.followUp();
    } while (this.#left.size > 0);
  }

  snapshot(): PoolSnapshot {
    const now = this.clock.now();
    const groups = [...this.groups()].map((group) =>
      groupSnapshot(group, now, this.room.starving.has(group), (process) =>
        this.memoryWatch.bytesOf(process),
      ),
    );
    return {
      takenAt: this.clock.wall(),
      generation: this.generation,
      maxPoolSize: this.maxPoolSize,
      capacityUsed: this.capacityUsed,
      processCount: groups.reduce((count, group) => count + group.processes.length, 0),
      starvingGroups: this.room.starving.size,
      stopping: this.stopping,
      groups,
    };
  }
}
