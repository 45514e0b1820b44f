/**
 * Items in the order of a number each of them has been given: the least one is found at once, everything else costs
 * the logarithm of how many there are. An indexed binary heap; it knows nothing of what the numbers mean.
 */
import assert from 'node:assert';

interface Slot<T> {
  readonly item: T;
  key: number;
  index: number;
}

export class Heap<T> {
  readonly #slots: Slot<T>[] = [];
  readonly #places = new Map<T, Slot<T>>();

  get size(): number {
    return this.#slots.length;
  }

  /** The item with the least key, and that key. */
  get first(): { readonly item: T; readonly key: number } | undefined {
    return this.#slots[0];
  }

  has(item: T): boolean {
    return this.#places.has(item);
  }

  /** Undefined for an item that is not there. */
  keyOf(item: T): number | undefined {
    return this.#places.get(item)?.key;
  }

  /** Adds the item, or gives it another key. */
  set(item: T, key: number): void {
    let slot = this.#places.get(item);
    if (slot === undefined) {
      slot = { item, key, index: this.#slots.length };
      this.#places.set(item, slot);
      this.#slots.push(slot);
    }
    slot.key = key;
    this.#up(slot);
    this.#down(slot);
  }

  /** @returns whether it was there */
  delete(item: T): boolean {
    const slot = this.#places.get(item);
    if (slot === undefined) return false;
    this.#places.delete(item);
    const last = this.#slots.pop();
    assert(last !== undefined, 'the slot is one of them');
    if (last === slot) return true;
    this.#put(last, slot.index);
    this.#up(last);
    this.#down(last);
    return true;
  }

  #put(slot: Slot<T>, index: number): void {
    slot.index = index;
    this.#slots[index] = slot;
  }

  #up(slot: Slot<T>): void {
    while (slot.index > 0) {
      const parent = this.#slots[(slot.index - 1) >> 1];
      if (parent === undefined || parent.key <= slot.key) return;
      this.#swap(slot, parent);
    }
  }

  #down(slot: Slot<T>): void {
    for (;;) {
      const left = this.#slots[2 * slot.index + 1];
      const right = this.#slots[2 * slot.index + 2];
      const least = right !== undefined && left !== undefined && right.key < left.key ? right : left;
      if (least === undefined || least.key >= slot.key) return;
      this.#swap(slot, least);
    }
  }

  #swap(one: Slot<T>, other: Slot<T>): void {
    const { index } = one;
    this.#put(one, other.index);
    this.#put(other, index);
  }
}
