/** The least of many, against a plain list. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Heap } from '../../core/base/heap.js';

test('a heap gives its items in the order of their keys, whatever happened to them before', () => {
  const heap = new Heap<number>();
  const keys = new Map<number, number>();
  let state = 42;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  for (let step = 0; step < 10_000; step += 1) {
    const item = random(100);
    if (random(3) === 0) {
      assert.equal(heap.delete(item), keys.delete(item));
    } else {
      const key = random(1000);
      heap.set(item, key);
      keys.set(item, key);
    }
    assert.equal(heap.size, keys.size);
    assert.equal(heap.has(item), keys.has(item));
    assert.equal(heap.keyOf(item), keys.get(item));
    assert.equal(heap.first?.key, keys.size === 0 ? undefined : Math.min(...keys.values()));
  }
  const order: number[] = [];
  for (let first = heap.first; first !== undefined; first = heap.first) {
    assert.equal(first.key, keys.get(first.item));
    order.push(first.key);
    heap.delete(first.item);
  }
  assert.deepEqual(
    order,
    [...keys.values()].sort((a, b) => a - b),
  );
});
