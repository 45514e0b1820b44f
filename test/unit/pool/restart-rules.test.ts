/** Passenger's restarts as its users know them (its behaviours that can be seen), one test for each rule. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appConfig, Bench, type FakeRequest } from './pool-fixture.js';

const SHOP = appConfig();

async function warm(
  server: ConstructorParameters<typeof Bench>[0] = { statThrottleRate: '0' },
): Promise<Bench> {
  const bench = new Bench(server);
  (await bench.served(SHOP)).close();
  return bench;
}

test('always_restart.txt: from the first look that sees it on, each request restarts, whatever StatThrottleRate says', async () => {
  const bench = await warm({ statThrottleRate: '10' });
  bench.files.touch('/srv/shop', 'always_restart.txt');
  (await bench.served(SHOP)).close();
  assert.equal(bench.spawner.attempts.length, 1, 'not seen yet');
  await bench.advance(10_500);
  for (const pid of [1001, 1002, 1003]) {
    const request = await bench.served(SHOP);
    assert.equal(request.pid, pid);
    request.close();
  }
  bench.files.remove('/srv/shop', 'always_restart.txt');
  const last = await bench.served(SHOP);
  assert.equal(last.pid, 1003, 'until it is gone');
  const { looks } = bench.files;
  await bench.served(SHOP);
  assert.equal(bench.files.looks, looks, 'then looks are throttled again');
});

test('restart.txt: an older time counts as any other', async () => {
  const bench = await warm();
  bench.files.touch('/srv/shop');
  (await bench.served(SHOP)).close();
  assert.equal(bench.spawner.attempts.length, 2);
  bench.files.touch('/srv/shop', 'restart.txt', -1000n);
  (await bench.served(SHOP)).close();
  assert.equal(bench.spawner.attempts.length, 3);
});

test('restart.txt: a change while a restart runs counts when it is over, so that no code is missed', async () => {
  const bench = await warm();
  bench.spawner.knobs.delayMs = 3000;
  bench.files.touch('/srv/shop');
  const first = bench.request(SHOP);
  await bench.settle();
  bench.files.touch('/srv/shop');
  const second = bench.request(SHOP);
  await bench.advance(2500);
  assert.equal(bench.spawner.attempts.length, 2, 'the start goes on');
  await bench.advance(500);
  assert.deepEqual([first.state, second.state], ['serving', 'serving']);
  bench.request(SHOP);
  await bench.settle();
  assert.equal(bench.spawner.attempts.length, 3);
});

test('restart-app: a second one cancels the first', async () => {
  const bench = await warm();
  bench.spawner.knobs.delayMs = undefined;
  bench.pool.restart(SHOP.groupKey, 'first');
  const request = bench.request(SHOP);
  await bench.settle();
  bench.pool.restart(SHOP.groupKey, 'second');
  await bench.settle();
  assert.deepEqual(
    bench.spawner.attempts.map(({ canceled }) => canceled),
    [false, true, false],
  );
  bench.spawner.finish();
  await bench.settle();
  assert.equal(request.state, 'serving');
});

test('blocking restart: requests beyond MaxRequestQueueSize get 503, the others wait for the new code', async () => {
  const bench = await warm({});
  bench.spawner.knobs.delayMs = 2000;
  bench.pool.restart(SHOP.groupKey, 'test');
  const requests = Array.from({ length: 103 }, () => bench.request(SHOP));
  await bench.settle();
  const count = (state: FakeRequest['state']): number =>
    requests.filter((request) => request.state === state).length;
  assert.deepEqual([count('waiting'), count('failed')], [100, 3]);
  assert.equal(requests.at(-1)?.failure?.row.status, 503);
  await bench.advance(2000);
  assert.deepEqual([count('serving'), count('failed')], [100, 3]);
});

test('blocking restart: all old processes go in one go, and the new ones come up to the minimum', async () => {
  const app = appConfig('shop', { minInstances: '3' });
  const bench = new Bench();
  const old = await bench.served(app);
  await bench.advance(100);
  bench.spawner.knobs.delayMs = 500;
  bench.pool.restart(app.groupKey, 'test');
  assert.equal(bench.group(app).serving.length, 0);
  assert.equal(bench.group(app).deployment, 'settled', 'it is no deployment');
  await bench.advance(2000);
  assert.deepEqual(
    bench.group(app).serving.map(({ pid }) => pid),
    [1003, 1004, 1005],
  );
  assert.equal(old.session?.process.pid, 1000);
  old.close();
  await bench.settle();
  assert.equal(bench.spawner.alive.length, 3);
});

test('restart in a full pool: the place of the old process is the place of the new one, also while others starve', async () => {
  const bench = await warm({ maxPoolSize: '1' });
  const busy = await bench.served(SHOP);
  const other = bench.request(appConfig('other'));
  await bench.settle();
  const served = (request: FakeRequest): boolean => request.state === 'serving';
  assert(!served(other), 'it starves');
  bench.spawner.knobs.delayMs = 500;
  bench.pool.restart(SHOP.groupKey, 'test');
  const next = bench.request(SHOP);
  busy.close();
  for (let round = 0; round < 40 && !served(next); round += 1) {
    await bench.advance(500);
    if (served(other)) other.close();
  }
  assert(served(next) && served(other));
});

test('restart during a spawn beside serving processes: the start is canceled, nobody fails', async () => {
  const app = appConfig('shop', { minInstances: '2' });
  const bench = new Bench();
  bench.spawner.knobs.delayMs = 1000;
  const request = bench.request(app);
  await bench.advance(1000);
  assert.equal(request.state, 'serving');
  assert.equal(bench.spawner.pending.length, 1);
  bench.pool.restart(app.groupKey, 'test');
  assert.equal(bench.spawner.attempts[1]?.canceled, true);
  const next = bench.request(app);
  await bench.advance(3000);
  assert.equal(next.state, 'serving');
  assert.equal(bench.group(app).serving.length, 2);
});
