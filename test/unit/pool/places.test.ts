/** What takes a place of the pool, when it is given away, and what is started in the place of those who leave. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appConfig, Bench } from './pool-fixture.js';

test('a start under way takes a place; a process that finishes its last requests takes none', async () => {
  const bench = new Bench({ maxPoolSize: '1' });
  const shop = appConfig('shop');
  bench.spawner.knobs.delayMs = undefined;
  const first = bench.request(shop);
  const other = bench.request(appConfig('other'));
  await bench.settle();
  assert.equal(bench.spawner.pending.length, 1, 'no other app beside the start');
  bench.spawner.knobs.delayMs = 0;
  bench.spawner.finish();
  await bench.settle();
  assert.equal(first.state, 'serving');
  bench.pool.restart(shop.groupKey, 'test');
  await bench.settle();
  assert.equal(other.state, 'serving', 'beside the old process, which still works');
  assert.equal(bench.spawner.alive.length, 2);
  assert.equal(bench.pool.snapshot().capacityUsed, 1);
  first.close();
});

test('an app whose only process made way gets a place again when it is asked for, and waits in its own list until then', async () => {
  const bench = new Bench({ maxPoolSize: '1' });
  const [a, b] = [appConfig('a', { maxRequestQueueSize: '1' }), appConfig('b')];
  (await bench.served(a)).close();
  (await bench.served(b)).close();
  (await bench.served(a)).close();
  const busy = await bench.served(b);
  const waiting = bench.request(a);
  await bench.settle();
  const refused = bench.request(a);
  await bench.settle();
  assert.deepEqual([waiting.state, refused.state], ['waiting', 'failed']);
  busy.close();
  await bench.settle();
  assert.equal(waiting.state, 'serving');
});

test('a process that has just started makes way at once for an app that has nothing, if its own has no requests', async () => {
  const bench = new Bench({ maxPoolSize: '2' });
  bench.spawner.knobs.delayMs = 1000;
  const shop = appConfig('shop', { minInstances: '2' });
  const first = bench.request(shop);
  await bench.advance(1000);
  assert.equal(first.state, 'serving');
  const other = bench.request(appConfig('other'));
  await bench.settle();
  assert.equal(bench.spawner.pending.length, 1, 'the second process of the shop');
  await bench.advance(1000);
  assert.deepEqual(
    bench.spawner.processes.map(({ alive }) => alive),
    [true, false],
    'it has gone as soon as it was there',
  );
  await bench.advance(1000);
  assert.equal(other.state, 'serving');
});

test('a process whose own app has requests waiting serves those first', async () => {
  const bench = new Bench({ maxPoolSize: '1' });
  const shop = appConfig('shop', { forceMaxConcurrentRequestsPerProcess: '1' });
  const first = await bench.served(shop);
  const other = bench.request(appConfig('other'));
  const second = bench.request(shop);
  await bench.settle();
  first.close();
  await bench.settle();
  assert.deepEqual([second.state, other.state], ['serving', 'waiting']);
  second.close();
  await bench.settle();
  assert.equal(other.state, 'serving');
});

test('what leaves above the minimum is not started again before somebody waits for it', async () => {
  const bench = new Bench();
  const shop = appConfig('shop', { minInstances: '0' });
  (await bench.served(shop)).close();
  bench.spawner.alive[0]?.exit({ code: 0 });
  await bench.advance(5000);
  assert.equal(bench.spawner.attempts.length, 1);
  await bench.served(shop);
  assert.equal(bench.spawner.attempts.length, 2);
});

test('a failed start of a further process harms nobody, and is tried again for the minimum without a request', async () => {
  const bench = new Bench();
  const shop = appConfig('shop', { minInstances: '2' });
  bench.spawner.knobs.delayMs = undefined;
  const first = bench.request(shop);
  await bench.settle();
  bench.spawner.finish();
  await bench.settle();
  bench.spawner.finish('loading');
  await bench.settle();
  assert.equal(first.state, 'serving');
  assert.deepEqual(
    [bench.spawner.alive.length, bench.spawner.pending.length, bench.group(shop).paused],
    [1, 0, true],
  );
  (await bench.served(shop)).close();
  bench.spawner.knobs.delayMs = 0;
  await bench.advance(2000);
  assert.equal(bench.spawner.alive.length, 2);
});
