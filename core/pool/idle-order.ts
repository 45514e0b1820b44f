/**
 * All serving processes of the pool in the order in which they became idle, so that the one that may go is found
 * without looking at the others. Room asks it who makes way, housekeeping who has been idle for too long; it
 * decides nothing else and starts or ends nothing.
 *
 * Sessions come and go without its knowledge (in other threads, too), hence it is lazy: the key of a process is a time
 * before which it was not idle. Whoever comes first with an outdated key gets a new one and goes to its place.
 * A process that is found busy is put aside and asked to tell when it is idle (books.ts, rule 2).
 */
import { Heap } from '../base/heap.js';
import type { AppGroup } from './app-group.js';
import type { AppProcess } from './app-process.js';

export class IdleOrder {
  /** Processes of groups above their minimum, and all others. */
  readonly #spare = new Heap<AppProcess>();
  readonly #needed = new Heap<AppProcess>();
  readonly #busy = new Set<AppProcess>();
  /** Where the processes of each group stand. */
  readonly #placed = new Map<AppGroup, { above: boolean; serving: readonly AppProcess[] }>();
  readonly #moved = new Set<AppGroup>();

  /** Its processes or its minimum may have changed. */
  touch(group: AppGroup): void {
    this.#moved.add(group);
  }

  /** The process has told, as it was asked to. */
  becameIdle(group: AppGroup, process: AppProcess): void {
    if (!this.#busy.delete(process)) return;
    process.book.idleWanted = false;
    this.#heapOf(group).set(process, process.lastUsed);
  }

  /**
   * Who makes way: the longest idle process of a group above its minimum, or else the longest idle of all.
   * Undefined when all are busy; then each of them tells when it is not.
   */
  longestIdle(): AppProcess | undefined {
    this.#update();
    return this.#firstIdle(this.#spare) ?? this.#firstIdle(this.#needed);
  }

  /** A process of a group above its minimum that has been idle since `limit` or longer. */
  idleSince(limit: number, now: number): AppProcess | undefined {
    this.#update();
    for (let first = this.#spare.first; first !== undefined; first = this.#spare.first) {
      if (first.key > limit) return undefined;
      const { item: process } = first;
      const since = process.sessions > 0 ? now : process.lastUsed;
      if (since <= first.key) return process;
      this.#spare.set(process, since);
    }
    return undefined;
  }

  /** No process of a group above its minimum has been idle for longer; Infinity when there is none. */
  get earliest(): number {
    this.#update();
    return this.#spare.first?.key ?? Infinity;
  }

  #firstIdle(heap: Heap<AppProcess>): AppProcess | undefined {
    for (let first = heap.first; first !== undefined; first = heap.first) {
      const { item: process, key } = first;
      // The wish first, then the look: it may become idle at this moment.
      if (process.sessions > 0) process.book.idleWanted = true;
      if (process.sessions > 0) {
        heap.delete(process);
        this.#busy.add(process);
      } else if (process.lastUsed > key) {
        heap.set(process, process.lastUsed);
      } else {
        return process;
      }
    }
    return undefined;
  }

  #update(): void {
    for (const group of this.#moved) this.#place(group);
    this.#moved.clear();
  }

  #place(group: AppGroup): void {
    const before = this.#placed.get(group);
    const { serving } = group;
    const above = serving.length > group.limits.minInstances;
    if (before !== undefined && before.above === above && before.serving === serving) return;
    for (const process of before?.serving ?? []) {
      if (process.state !== 'ready') this.#drop(process);
    }
    if (serving.length === 0) {
      this.#placed.delete(group);
      return;
    }
    this.#placed.set(group, { above, serving });
    for (const process of serving) {
      if (this.#busy.has(process)) continue;
      const other = above ? this.#needed : this.#spare;
      other.delete(process);
      const heap = above ? this.#spare : this.#needed;
      if (!heap.has(process)) heap.set(process, process.lastUsed);
    }
  }

  #drop(process: AppProcess): void {
    this.#spare.delete(process);
    this.#needed.delete(process);
    this.#busy.delete(process);
    process.book.idleWanted = false;
  }

  #heapOf(group: AppGroup): Heap<AppProcess> {
    return this.#placed.get(group)?.above === true ? this.#spare : this.#needed;
  }
}
