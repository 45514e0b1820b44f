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

/**
 * Who goes before whom: processes of groups above what they are to keep (`spare`), of other groups with several, and
 * at last the only ones of their groups, whose visitors would have to wait for a start.
 */
const RANKS = ['spare', 'several', 'only'] as const;
type Rank = (typeof RANKS)[number];

function rankOf(group: AppGroup): Rank {
  if (group.serving.length > group.kept) return 'spare';
  return group.serving.length > 1 ? 'several' : 'only';
}

export class IdleOrder {
  readonly #heaps: Readonly<Record<Rank, Heap<AppProcess>>> = {
    spare: new Heap(),
    several: new Heap(),
    only: new Heap(),
  };
  readonly #busy = new Set<AppProcess>();
  /** Where the processes of each group stand. */
  readonly #placed = new Map<AppGroup, { rank: Rank; serving: readonly AppProcess[] }>();
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
   * Who makes way: the longest idle process of the first rank that has an idle one.
   * Undefined when all are busy; then each of them tells when it is not.
   */
  longestIdle(): AppProcess | undefined {
    this.#update();
    for (const rank of RANKS) {
      const found = this.#firstIdle(this.#heaps[rank]);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** A process of a group above its minimum that has been idle since `limit` or longer. */
  idleSince(limit: number, now: number): AppProcess | undefined {
    this.#update();
    const { spare } = this.#heaps;
    for (let first = spare.first; first !== undefined; first = spare.first) {
      if (first.key > limit) return undefined;
      const { item: process } = first;
      const since = process.sessions > 0 ? now : process.lastUsed;
      if (since <= first.key) return process;
      spare.set(process, since);
    }
    return undefined;
  }

  /** No process of a group above its minimum has been idle for longer; Infinity when there is none. */
  get earliest(): number {
    this.#update();
    return this.#heaps.spare.first?.key ?? Infinity;
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
    const rank = rankOf(group);
    if (before !== undefined && before.rank === rank && before.serving === serving) return;
    for (const process of before?.serving ?? []) {
      if (process.state !== 'ready') this.#drop(process);
    }
    if (serving.length === 0) {
      this.#placed.delete(group);
      return;
    }
    this.#placed.set(group, { rank, serving });
    const heap = this.#heaps[rank];
    for (const process of serving) {
      if (this.#busy.has(process)) continue;
      if (before !== undefined && before.rank !== rank) this.#heaps[before.rank].delete(process);
      if (!heap.has(process)) heap.set(process, process.lastUsed);
    }
  }

  #drop(process: AppProcess): void {
    for (const rank of RANKS) this.#heaps[rank].delete(process);
    this.#busy.delete(process);
    process.book.idleWanted = false;
  }

  #heapOf(group: AppGroup): Heap<AppProcess> {
    return this.#heaps[this.#placed.get(group)?.rank ?? 'only'];
  }
}
