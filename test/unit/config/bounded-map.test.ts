/** The map behind the caches of configurations. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BoundedMap } from '../../../core/config/bounded-map.js';

test('the oldest entry goes when there are too many', () => {
  const map = new BoundedMap<number>(2);
  map.set('a', 1);
  map.set('b', 2);
  map.set('c', 3);
  assert.deepEqual([map.get('a'), map.get('b'), map.get('c')], [undefined, 2, 3]);
});

test('setting an entry again makes it the newest', () => {
  const map = new BoundedMap<number>(2);
  map.set('a', 1);
  map.set('b', 2);
  map.set('a', 3);
  map.set('c', 4);
  assert.deepEqual([map.get('a'), map.get('b'), map.size], [3, undefined, 2]);
});

test('large keys drive out as many old entries as their size needs', () => {
  const map = new BoundedMap<number>(100, 10);
  for (const key of ['aaa', 'bbb', 'ccc']) map.set(key, 1);
  map.set('dddddd', 2);
  assert.deepEqual(
    [map.get('aaa'), map.get('bbb'), map.get('ccc'), map.get('dddddd')],
    [undefined, undefined, 1, 2],
  );
});

test('an entry larger than everything stays until the next one comes', () => {
  const map = new BoundedMap<number>(100, 4);
  map.set('x', 1);
  map.set('much too large', 2);
  assert.deepEqual([map.size, map.get('much too large')], [1, 2]);
  map.set('y', 3);
  assert.deepEqual([map.size, map.get('y')], [1, 3]);
});
