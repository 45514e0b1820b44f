/**
 * The waiting requests of a group: a line for whatever process is free next, and one for each process that requests
 * wait for alone (sticky sessions). Order and deadlines are the lists' business (waiting-list.ts), who is served the
 * group's. A line for one process exists as long as somebody is in it.
 */
import type { Clock } from '../base/clock.js';
import { WaitingList, type WaitingEntry } from './waiting-list.js';

export class WaitingLines<P> {
  readonly #anyone: WaitingList;
  readonly #lines = new Map<P, WaitingList>();
  #size = 0;

  /**
   * @param expired called for each entry whose deadline has passed, after it was taken out
   * @param sized hears how many wait in all lines, after each change
   */
  constructor(
    private readonly clock: Clock,
    private readonly expired: (entry: WaitingEntry) => void,
    private readonly sized: (size: number) => void,
  ) {
    this.#anyone = this.#newList(() => undefined);
  }

  /** In all lines. */
  get size(): number {
    return this.#size;
  }

  /** Those whom any process can serve. */
  get anyone(): WaitingList {
    return this.#anyone;
  }

  /** Processes that requests wait for alone. */
  get wanted(): IterableIterator<P> {
    return this.#lines.keys();
  }

  /** The one who has waited longest for this process alone. */
  firstFor(process: P): WaitingEntry | undefined {
    return this.#lines.get(process)?.first;
  }

  /** @param process undefined: any will do */
  add(entry: WaitingEntry, process: P | undefined): void {
    this.#lineOf(process).add(entry);
  }

  /** The process takes no more requests: whoever waits for it takes any, at the place where it would be by now. */
  release(process: P): void {
    const line = this.#lines.get(process);
    if (line !== undefined) this.#anyone.merge(line.takeAll());
  }

  /** Takes out all. */
  takeAll(): WaitingEntry[] {
    for (const process of [...this.#lines.keys()]) this.release(process);
    return this.#anyone.takeAll();
  }

  #lineOf(process: P | undefined): WaitingList {
    if (process === undefined) return this.#anyone;
    const known = this.#lines.get(process);
    if (known !== undefined) return known;
    const line = this.#newList(() => this.#lines.delete(process));
    this.#lines.set(process, line);
    return line;
  }

  #newList(emptied: () => void): WaitingList {
    let before = 0;
    return new WaitingList(this.clock, this.expired, (now) => {
      this.#size += now - before;
      before = now;
      if (now === 0) emptied();
      this.sized(this.#size);
    });
  }
}
