/**
 * Who gets the places of the pool: counts them, remembers who wants more, and carries out what scaling.ts decides.
 * The pool owns it and has it follow up on each change before the turn ends.
 *
 * Starving groups (requests wait, and there is no process at all) come first, in the order in which they began to;
 * then those that are merely short of what they want. Nobody starves for long: who has waited for STARVING_MS gets the
 * place of a busy process, if no idle one has come by.
 *
 * The cost of a change does not depend on how many groups there are: only those that can be served are looked at.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import type { AppGroup } from './app-group.js';
import { occupies, type AppProcess, type ProcessState } from './app-process.js';
import { IdleOrder } from './idle-order.js';
import { busyLeavers, decideGrowth, surplusLeavers } from './scaling.js';
import type { Turn } from './turn.js';

export interface RoomHost {
  readonly clock: Clock;
  readonly turn: Turn;
  readonly maxPoolSize: number;
  /** While processes are adopted, only groups with waiting requests grow. */
  readonly adopting: boolean;
  /** Groups that may have to give. */
  active(): Iterable<AppGroup>;
}

/** Substitutes of all groups that start at the same time, so that a reload does not start everything at once. */
const PARALLEL_SUBSTITUTES = 4;
/** How long a group starves until a busy process makes way. */
export const STARVING_MS = 5000;
/** The only process of a group is left alone for this time, so that apps do not do nothing but start. */
export const LEAST_SERVICE_MS = 30_000;
/** The shortest time between two searches for busy processes: each of them looks at all. */
const SEARCH_FLOOR_MS = 1000;

export class Room {
  readonly idle = new IdleOrder();
  /** With the time since when. */
  readonly #starving = new Map<AppGroup, number>();
  /** Groups that want a place, and groups that want to start a substitute. */
  readonly #short = new Set<AppGroup>();
  readonly #later = new Set<AppGroup>();
  /** Groups to look at before the turn ends. */
  readonly #changed = new Set<AppGroup>();
  /** Room has been made, or a process has become idle: those who want more are asked again. */
  #news = false;
  #occupied = 0;
  /** Whether there may be more than the limit allows. */
  #shrinking = false;
  /** Substitutes under way: they take no place, since the one that they replace will go. */
  #ahead = 0;
  /** Those of them that could serve and only have to live for a moment: they hold nobody up. */
  readonly #proving = new Set<AppProcess>();
  #searchTimer: ClockTimer | undefined;
  #lastSearch = -Infinity;

  constructor(private readonly host: RoomHost) {}

  get occupied(): number {
    return this.#occupied;
  }
  /** Places that count for the limit. */
  get #taken(): number {
    return this.#occupied - this.#ahead;
  }
  get shrinking(): boolean {
    return this.#shrinking;
  }
  /** Since when. */
  get starving(): ReadonlyMap<AppGroup, number> {
    return this.#starving;
  }

  /** Whether the group would start a process if it were allowed to. */
  isShort(group: AppGroup): boolean {
    return this.#short.has(group) || this.#later.has(group);
  }

  moved(group: AppGroup, process: AppProcess, from: ProcessState, to: ProcessState): void {
    const change = Number(occupies(to)) - Number(occupies(from));
    this.#occupied += change;
    if (process.ahead) this.#ahead += Number(to === 'starting') - Number(from === 'starting');
    this.#proving.delete(process);
    if (change < 0 || from === 'starting') this.#news = true;
    // It was started beyond the limit, and the one that it replaces may have gone to somebody else's advantage.
    if (process.ahead && to === 'ready') this.#shrinking = true;
    this.changed(group);
  }

  proves(process: AppProcess): void {
    this.#proving.add(process);
    this.#news = true;
  }

  /** Substitutes that may be started now. */
  get #substitutesLeft(): number {
    return PARALLEL_SUBSTITUTES - (this.#ahead - this.#proving.size);
  }

  changed(group: AppGroup): void {
    this.#changed.add(group);
    this.idle.touch(group);
  }

  becameIdle(group: AppGroup, process: AppProcess): void {
    this.idle.becameIdle(group, process);
    this.#news = true;
  }

  forget(group: AppGroup): void {
    this.#starving.delete(group);
    this.#short.delete(group);
    this.#later.delete(group);
    this.#changed.delete(group);
  }

  close(): void {
    if (this.#searchTimer !== undefined) this.host.clock.clearTimeout(this.#searchTimer);
    this.#searchTimer = undefined;
  }

  /** Everybody whose situation has changed gets what there is. */
  followUp(): void {
    for (;;) {
      if (this.#news) {
        this.#news = false;
        if (this.#shrinking) this.#shrink();
        this.#serveStarving();
        this.#serve(this.#short, () => this.#taken < this.host.maxPoolSize);
        this.#serve(this.#later, () => this.#substitutesLeft > 0);
      }
      const group = this.#changed.values().next().value;
      if (group === undefined) break;
      this.#changed.delete(group);
      this.#grow(group);
    }
    this.#armSearch();
  }

  /** The limit may have been lowered. */
  limitChanged(): void {
    this.#shrinking = true;
    this.#news = true;
  }

  #serveStarving(): void {
    for (const group of this.#starving.keys()) {
      this.#grow(group);
      // What there is not for this one is not there for those behind it.
      if (this.#starving.has(group)) return;
    }
  }

  /** Each of them once: who wants even more goes to the end. */
  #serve(groups: Set<AppGroup>, possible: () => boolean): void {
    let left = groups.size;
    for (const group of groups) {
      if (left === 0 || !possible()) return;
      left -= 1;
      this.#grow(group);
    }
  }

  /** Down to the limit: idle processes go first, then the least busy ones; starts under way when ready. */
  #shrink(): void {
    while (this.#taken > this.host.maxPoolSize) {
      const victim = this.idle.longestIdle();
      if (victim === undefined) break;
      victim.drain('more than PassengerMaxPoolSize');
    }
    const excess = this.#taken - this.host.maxPoolSize;
    if (excess > 0) {
      const serving = [...this.host.active()].flatMap((group) => group.serving);
      const leastBusy = serving.sort((a, b) => a.sessions - b.sessions).slice(0, excess);
      for (const process of leastBusy) process.drain('more than PassengerMaxPoolSize');
    }
    this.#shrinking = this.#taken > this.host.maxPoolSize;
  }

  #grow(group: AppGroup): void {
    this.#short.delete(group);
    this.#later.delete(group);
    if (group.retired || (this.host.adopting && group.queue.size === 0)) {
      this.#starving.delete(group);
      return;
    }
    this.#keepLimit(group);
    const load = group.load();
    const growth = decideGrowth(load, this.host.maxPoolSize - this.#taken);
    for (let started = 0; started < growth.start; started += 1) group.start();
    const substitutes = Math.min(load.substitutes, this.#substitutesLeft);
    for (let started = 0; started < substitutes; started += 1) group.startAhead();
    const served = !growth.starving || this.#makeWay();
    if (served) this.#starving.delete(group);
    if (growth.starving && served) group.start();
    // A group that goes on starving keeps its turn.
    if (!served && !this.#starving.has(group)) this.#starving.set(group, this.host.clock.now());
    if (growth.starving) return;
    if (growth.short > 0) this.#short.add(group);
    if (substitutes < load.substitutes) this.#later.add(group);
  }

  /** PassengerMaxInstances may have been lowered. */
  #keepLimit(group: AppGroup): void {
    const isWorn = (process: AppProcess): boolean => group.worn.includes(process);
    for (const process of surplusLeavers(group.serving, group.limits.maxInstances, isWorn)) {
      process.drain('more than PassengerMaxInstances');
    }
  }

  #makeWay(): boolean {
    const victim = this.idle.longestIdle();
    victim?.drain('makes way for another app');
    return victim !== undefined && this.#taken < this.host.maxPoolSize;
  }

  // --- nobody starves for long

  #armSearch(): void {
    const first = this.#starving.values().next().value;
    if (first === undefined) {
      this.close();
      return;
    }
    if (this.#searchTimer !== undefined) return;
    const { clock, turn } = this.host;
    const due = Math.max(first + STARVING_MS, this.#lastSearch + SEARCH_FLOOR_MS);
    const delay = Math.max(0, Math.ceil(due - clock.now()));
    this.#searchTimer = clock.setTimeout(() => {
      this.#searchTimer = undefined;
      turn.run(() => this.#search());
    }, delay);
  }

  #search(): void {
    const now = (this.#lastSearch = this.host.clock.now());
    const overdue = [...this.#starving.values()].filter((since) => now - since >= STARVING_MS).length;
    if (overdue === 0) return;
    const givers = [...this.host.active()].map((group) => ({
      minInstances: group.kept,
      ready: group.serving,
    }));
    const leavers = busyLeavers(givers, LEAST_SERVICE_MS, now).slice(0, overdue);
    for (const process of leavers) process.drain('makes way for an app that has waited long');
  }
}
