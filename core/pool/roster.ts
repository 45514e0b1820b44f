/**
 * Which groups there are: finds or makes the group of a request, has it follow the settings that the request brings,
 * and lets go those that nobody needs. A group that gets no more requests is kept until its last process has exited.
 * Owned by the pool; what each generation of the configuration knows is counted by routing/app-registry.ts.
 */
import { isDeepStrictEqual } from 'node:util';
import type { AppConfig } from '../config/app-config.js';
import { AppGroup } from './app-group.js';
import type { GroupHost } from './group-host.js';
import type { Housekeeping } from './housekeeping.js';
import type { MemoryWatch } from './memory-watch.js';
import type { Room } from './room.js';

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

export interface RosterHost extends GroupHost {
  readonly stopping: boolean;
  readonly room: Room;
  readonly housekeeping: Housekeeping;
  readonly memoryWatch: MemoryWatch;
  /** The last process of a group that gets no more requests has exited. */
  groupGone(group: AppGroup): void;
}

export class Roster {
  /** Groups that are not in the directory any more and still have processes. */
  readonly #leaving = new Set<AppGroup>();

  constructor(
    readonly directory: GroupDirectory,
    private readonly host: RosterHost,
  ) {}

  get leaving(): ReadonlySet<AppGroup> {
    return this.#leaving;
  }

  /** Those that get requests, and then those that get no more. */
  *all(): Generator<AppGroup> {
    yield* this.directory.all();
    yield* this.#leaving;
  }

  /** The group of a request, with the settings that hold since its generation. */
  groupFor(config: AppConfig, generation: number): AppGroup {
    const known = this.directory.find(config.groupKey);
    const group = known ?? this.create(config, generation);
    this.#confirm(group, config, generation);
    if (known === undefined) this.#retireForerunners(group);
    return group;
  }

  /** @param code generation of its code; another one for a group that is adopted */
  create(config: AppConfig, generation: number, code = generation): AppGroup {
    const group = new AppGroup(config, generation, this.host, code);
    this.directory.add(group);
    this.host.room.changed(group);
    if (!this.host.stopping) this.host.housekeeping.groupAdded(group);
    return group;
  }

  /** The first request of a generation brings the settings that hold from now on. */
  #confirm(group: AppGroup, config: AppConfig, generation: number): void {
    if (!this.directory.confirm(group, generation)) return;
    const changed = group.config !== config && !isDeepStrictEqual(group.config, config);
    group.adoptConfig(config);
    this.host.memoryWatch.groupChanged(group);
    const due = group.redeployed < generation && group.limits.redeployOnReload;
    group.redeployed = Math.max(group.redeployed, generation);
    if (due || changed) group.redeploy(changed ? 'configuration changed' : 'reload');
  }

  /**
   * Settings that make a group of their own (user, variables of the virtual host …) may change at a reload. The group
   * that served the site before is then known by its name, and by nobody having asked for it since the reload.
   */
  #retireForerunners(group: AppGroup): void {
    for (const other of this.directory.namesakes(group)) {
      if (other.confirmed >= this.directory.generation) continue;
      if (other.queue.size > 0 || other.held > 0) continue;
      this.dismiss(other, 'its settings changed');
    }
  }

  /** The group is not needed any more: what runs finishes its requests. */
  dismiss(group: AppGroup, reason: string): void {
    group.retire(reason);
    this.leave(group);
  }

  /** A retired group goes as soon as its last process has exited. */
  leave(group: AppGroup): void {
    this.directory.remove(group);
    this.host.room.forget(group);
    this.host.housekeeping.groupGone(group);
    if (group.members.size > 0) this.#leaving.add(group);
    else {
      this.#leaving.delete(group);
      this.host.groupGone(group);
    }
  }
}
