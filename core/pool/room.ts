/**
 * Who gets the places of the pool: counts them, remembers who wants more, and carries out what scaling.ts decides.
 * The pool owns it and has it follow up on each change before the turn ends.
 *
 * Starving groups (requests wait, and there is no process at all) come first, in the order in which they began to;
 * then those that are merely short of what they want.
 */
import type { AppGroup } from './app-group.js';
import { occupies, type AppProcess, type ProcessState } from './app-process.js';
import { chooseVictim, decideGrowth, type Giver } from './scaling.js';

export interface RoomHost {
  readonly maxPoolSize: number;
  /** While processes are adopted, only groups with waiting requests grow. */
  readonly adopting: boolean;
  /** Groups that may have to give. */
  active(): Iterable<AppGroup>;
}

/** Substitutes of all groups that start at the same time, so that a reload does not start everything at once. */
const PARALLEL_SUBSTITUTES = 4;

export class Room {
  readonly #starving = new Set<AppGroup>();
  readonly #short = new Set<AppGroup>();
  /** Groups to look at before the turn ends. */
  readonly #changed = new Set<AppGroup>();
  /** Room has been made, or a process has become idle: those who want more are asked again. */
  #news = false;
  #occupied = 0;
  /** Whether there may be more than the limit allows. */
  #shrinking = false;
  /** Substitutes under way: they take no place, since the one that they replace will go. */
  #ahead = 0;

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
  get starving(): ReadonlySet<AppGroup> {
    return this.#starving;
  }
  get short(): ReadonlySet<AppGroup> {
    return this.#short;
  }

  moved(group: AppGroup, process: AppProcess, from: ProcessState, to: ProcessState): void {
    const change = Number(occupies(to)) - Number(occupies(from));
    this.#occupied += change;
    if (process.ahead) this.#ahead += Number(to === 'starting') - Number(from === 'starting');
    if (change < 0 || from === 'starting') this.#news = true;
    // It was started beyond the limit, and the one that it replaces may have gone to somebody else's advantage.
    if (process.ahead && to === 'ready') this.#shrinking = true;
    this.#changed.add(group);
  }

  changed(group: AppGroup): void {
    this.#changed.add(group);
  }

  askAgain(): void {
    this.#news = true;
  }

  forget(group: AppGroup): void {
    this.#starving.delete(group);
    this.#short.delete(group);
    this.#changed.delete(group);
  }

  /** Everybody whose situation has changed gets what there is. */
  followUp(): void {
    for (;;) {
      if (this.#news) {
        this.#news = false;
        if (this.#shrinking) this.#shrink();
        for (const group of [...this.#starving, ...this.#short]) this.#grow(group);
      }
      const group = this.#changed.values().next().value;
      if (group === undefined) return;
      this.#changed.delete(group);
      this.#grow(group);
    }
  }

  /** The limit may have been lowered. */
  limitChanged(): void {
    this.#shrinking = true;
    this.#news = true;
  }

  /** Down to the limit: idle processes go first, then the least busy ones; starts under way when ready. */
  #shrink(): void {
    while (this.#taken > this.host.maxPoolSize) {
      const givers = this.#givers();
      const leastBusy = givers.flatMap((giver) => giver.ready).sort((a, b) => a.sessions - b.sessions)[0];
      const victim = chooseVictim(givers) ?? leastBusy;
      if (victim === undefined) return;
      victim.drain('more than PassengerMaxPoolSize');
    }
    this.#shrinking = false;
  }

  #grow(group: AppGroup): void {
    const wasStarving = this.#starving.has(group);
    this.#short.delete(group);
    if (group.retired || (this.host.adopting && group.queue.size === 0)) {
      this.#starving.delete(group);
      return;
    }
    const load = group.load();
    const growth = decideGrowth(load, this.host.maxPoolSize - this.#taken);
    for (let started = 0; started < growth.start; started += 1) group.start();
    const substitutes = Math.min(load.substitutes, PARALLEL_SUBSTITUTES - this.#ahead);
    for (let started = 0; started < substitutes; started += 1) group.startAhead();
    const served = !growth.starving || this.#makeWay();
    if (served) this.#starving.delete(group);
    if (growth.starving && served) group.start();
    // A group that goes on starving keeps its turn.
    if (!served && !wasStarving) this.#starving.add(group);
    if (!growth.starving && (growth.short > 0 || substitutes < load.substitutes)) this.#short.add(group);
  }

  #makeWay(): boolean {
    const victim = chooseVictim(this.#givers());
    victim?.drain('makes way for another app');
    return victim !== undefined && this.#taken < this.host.maxPoolSize;
  }

  #givers(): (Giver<AppProcess> & { ready: readonly AppProcess[] })[] {
    return [...this.host.active()].map((group) => ({
      minInstances: group.kept,
      ready: group.serving,
    }));
  }
}
