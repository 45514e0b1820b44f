/**
 * Which group serves which app configuration, and which of them the current configuration of Apache still knows.
 * Bookkeeping only: the pool makes groups, ends them and acts on what is found here.
 *
 * A generation is one reading of Apache's configuration. A group is confirmed by the first request that carries the
 * current generation; what is never confirmed is a site that is no longer configured.
 */

/** What the registry needs to know of a group. */
export interface Registered {
  readonly key: string;
  /** For people; several groups may share one. Never changes. */
  readonly name: string;
  /** The last generation whose requests asked for it. */
  confirmed: number;
}

export class AppRegistry<G extends Registered> {
  readonly #groups = new Map<string, G>();
  readonly #byName = new Map<string, Set<G>>();
  #generation: number;

  constructor(generation = 1) {
    this.#generation = generation;
  }

  /** The newest generation that anybody has told of. */
  get generation(): number {
    return this.#generation;
  }

  get size(): number {
    return this.#groups.size;
  }

  find(key: string): G | undefined {
    return this.#groups.get(key);
  }

  add(group: G): void {
    const before = this.#groups.get(group.key);
    if (before !== undefined) this.remove(before);
    this.#groups.set(group.key, group);
    const named = this.#byName.get(group.name);
    if (named === undefined) this.#byName.set(group.name, new Set([group]));
    else named.add(group);
  }

  /** Forgets this very group; a newer one with the same key stays. */
  remove(group: G): void {
    if (this.#groups.get(group.key) !== group) return;
    this.#groups.delete(group.key);
    const named = this.#byName.get(group.name);
    named?.delete(group);
    if (named?.size === 0) this.#byName.delete(group.name);
  }

  /** Other groups with its name. */
  namesakes(group: G): G[] {
    return [...(this.#byName.get(group.name) ?? [])].filter((other) => other !== group);
  }

  all(): IterableIterator<G> {
    return this.#groups.values();
  }

  /** A reload, or a request that was faster than its news. Generations never go back. */
  advance(generation: number): void {
    this.#generation = Math.max(this.#generation, generation);
  }

  /** @returns true for the first request of a generation */
  confirm(group: G, generation: number): boolean {
    if (generation <= group.confirmed) return false;
    this.advance(generation);
    group.confirmed = generation;
    return true;
  }

  /** Groups that no request of the current generation has asked for yet. */
  unconfirmed(): G[] {
    return [...this.#groups.values()].filter((group) => group.confirmed < this.#generation);
  }
}
