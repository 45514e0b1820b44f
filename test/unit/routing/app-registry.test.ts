/** Groups and the generations that know them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppRegistry, type Registered } from '../../../core/routing/app-registry.js';

const group = (key: string, confirmed: number): Registered => ({ key, name: key, confirmed });

test('a group is confirmed once for each generation', () => {
  const registry = new AppRegistry<Registered>(1);
  const shop = group('shop', 1);
  registry.add(shop);
  assert.equal(registry.confirm(shop, 1), false);
  registry.advance(2);
  assert.deepEqual(registry.unconfirmed(), [shop]);
  assert.equal(registry.confirm(shop, 2), true);
  assert.equal(registry.confirm(shop, 2), false);
  assert.deepEqual(registry.unconfirmed(), []);
});

test('a request may be faster than the news of its generation, and generations never go back', () => {
  const registry = new AppRegistry<Registered>(1);
  const shop = group('shop', 1);
  registry.add(shop);
  assert.equal(registry.confirm(shop, 3), true);
  assert.equal(registry.generation, 3);
  registry.advance(2);
  assert.equal(registry.generation, 3);
  assert.equal(registry.confirm(shop, 2), false);
});

test('a group that leaves does not take its successor along', () => {
  const registry = new AppRegistry<Registered>(1);
  const [old, fresh] = [group('shop', 1), group('shop', 1)];
  registry.add(old);
  registry.add(fresh);
  registry.remove(old);
  assert.equal(registry.find('shop'), fresh);
  registry.remove(fresh);
  assert.equal(registry.size, 0);
});
