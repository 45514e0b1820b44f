/** restart.txt, always_restart.txt and explicit restarts: new requests get new code, old ones finish with the old. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appConfig, Bench, serverSettings } from './pool-fixture.js';

const SHOP = appConfig();

test('a restart lets old requests finish and new ones wait for the new code', async () => {
  const bench = new Bench();
  const old = await bench.served(SHOP);
  bench.spawner.knobs.delayMs = 500;
  bench.pool.restart(SHOP.groupKey, 'test');
  const fresh = bench.request(SHOP);
  assert.equal(fresh.state, 'waiting');
  assert.deepEqual(bench.spawner.processes[0]?.told, []);
  await bench.advance(500);
  assert.equal(fresh.pid, 1001);
  old.close();
  assert.deepEqual(bench.spawner.processes[0]?.told, ['shutdown']);
});

test('a restart of an app that is not known says so', () => {
  assert.equal(new Bench().pool.restart('nobody', 'test'), false);
});

test('a restart cancels a start of old code and ends the pause after failures', async () => {
  const bench = new Bench();
  bench.spawner.knobs.delayMs = undefined;
  const request = bench.request(SHOP);
  bench.pool.restart(SHOP.groupKey, 'test');
  assert.equal(bench.spawner.attempts[0]?.canceled, true);
  await bench.settle();
  assert.equal(request.state, 'waiting', 'a canceled start is no failure');
  bench.spawner.finish('loading');
  await bench.settle();
  assert.equal(request.state, 'failed');
  bench.spawner.knobs.delayMs = 0;
  bench.pool.restart(SHOP.groupKey, 'test');
  await bench.served(SHOP);
});

test('the first look at restart.txt only records', async () => {
  const bench = new Bench({ statThrottleRate: '0' });
  bench.files.touch('/srv/shop');
  await bench.served(SHOP);
  assert.equal((await bench.served(SHOP)).pid, 1000);
});

test('with StatThrottleRate 0 the very next request after a touch runs the new code', async () => {
  const bench = new Bench({ statThrottleRate: '0' });
  (await bench.served(SHOP)).close();
  assert.equal((await bench.served(SHOP)).pid, 1000);
  bench.files.touch('/srv/shop');
  assert.equal((await bench.served(SHOP)).pid, 1001, 'it appears');
  bench.files.touch('/srv/shop');
  assert.equal((await bench.served(SHOP)).pid, 1002, 'it changes');
  assert.equal((await bench.served(SHOP)).pid, 1002, 'it stays');
  bench.files.remove('/srv/shop');
  assert.equal((await bench.served(SHOP)).pid, 1002, 'removal is no restart');
  bench.files.touch('/srv/shop');
  assert.equal((await bench.served(SHOP)).pid, 1003, 'it appears again');
});

test('a request that comes while a look is under way waits for the next one when looks are not throttled', async () => {
  const bench = new Bench({ statThrottleRate: '0' });
  await bench.served(SHOP);
  const first = bench.request(SHOP);
  bench.files.touch('/srv/shop');
  const second = bench.request(SHOP);
  await bench.settle();
  assert.equal(first.state, 'serving');
  assert.equal(second.pid, 1001);
});

test('looks are made at most once in StatThrottleRate, and the request that may look waits for the answer', async () => {
  const bench = new Bench({ statThrottleRate: '10' });
  // Without a loader: silence says nothing of its load.
  bench.spawner.knobs.reports = false;
  await bench.served(SHOP);
  bench.files.touch('/srv/shop');
  assert.equal(bench.request(SHOP).pid, 1000, 'throttled');
  assert.equal(bench.files.looks, 1);
  bench.clock.advance(9_999);
  assert.equal(bench.request(SHOP).pid, 1000);
  // The timer would look at 10 s too; the request comes first.
  await bench.settle();
  bench.clock.advance(1);
  const next = bench.request(SHOP);
  const beside = bench.request(SHOP);
  assert.equal(next.state, 'waiting');
  await bench.settle();
  assert.equal(next.pid, 1001);
  assert.equal(beside.pid, 1001, 'one that comes meanwhile waits for the same look');
  assert.equal(bench.files.looks, 2);
});

test('a timer restarts an app without traffic', async () => {
  const bench = new Bench({ statThrottleRate: '10' });
  (await bench.served(SHOP)).close();
  bench.files.touch('/srv/shop');
  await bench.advance(10_500, 500);
  assert.deepEqual(
    bench.spawner.alive.map((process) => process.pid),
    [1001],
  );
});

test('after a reload with another PassengerRestartDir the first look only records, too', async () => {
  const bench = new Bench({ statThrottleRate: '0' });
  (await bench.served(appConfig('shop', { restartDir: 'tmp' }))).close();
  // Stands for a file that the other directory has had all the time.
  bench.files.touch('/srv/shop');
  bench.pool.reload(serverSettings({ statThrottleRate: '0' }), 2);
  const moved = appConfig('shop', { restartDir: 'deploy' });
  const reloaded = bench.request(moved, { generation: 2 });
  await bench.advance(3000, 500);
  reloaded.close();
  assert.equal(bench.logged('app is redeployed'), 1);
  assert.equal(bench.logged('app restarts'), 0);
  bench.files.touch('/srv/shop');
  bench.request(moved, { generation: 2 });
  await bench.settle();
  assert.equal(bench.logged('app restarts'), 1);
});

test('the timer looks every 2 s when StatThrottleRate is shorter', async () => {
  const bench = new Bench({ statThrottleRate: '0' });
  (await bench.served(SHOP)).close();
  const before = bench.files.looks;
  await bench.advance(10_000, 500);
  assert.equal(bench.files.looks - before, 5);
});

test('a look that hangs holds requests for a second at most, and not again at once', async () => {
  const bench = new Bench({ statThrottleRate: '0' });
  // Without a loader: silence says nothing of its load.
  bench.spawner.knobs.reports = false;
  await bench.served(SHOP);
  bench.files.hang = true;
  const first = bench.request(SHOP);
  const second = bench.request(SHOP);
  await bench.advance(900, 100);
  assert.equal(first.state, 'waiting');
  await bench.advance(100);
  assert.equal(first.state, 'serving');
  assert.equal(second.state, 'serving');
  assert.equal(
    bench.request(SHOP).state,
    'serving',
    'the look is still under way; nobody waits for it any more',
  );
  assert.equal(bench.logged('PSG5009'), 1);
  bench.files.hang = false;
  await bench.advance(31_000, 1000);
  bench.files.touch('/srv/shop');
  assert.equal((await bench.served(SHOP)).pid, 1001, 'looks are made again');
});

test('a look that fails changes nothing', async () => {
  const bench = new Bench({ statThrottleRate: '0' });
  await bench.served(SHOP);
  bench.files.fail = true;
  assert.equal((await bench.served(SHOP)).pid, 1000);
  assert.equal((await bench.served(SHOP)).pid, 1000);
  assert.equal(bench.logged('PSG5009'), 1);
});

test('always_restart.txt restarts at each look that a request has caused, and not by the timer', async () => {
  const bench = new Bench({ statThrottleRate: '0' });
  (await bench.served(SHOP)).close();
  bench.files.touch('/srv/shop', 'always_restart.txt');
  for (const pid of [1001, 1002, 1003, 1004, 1005]) {
    const request = await bench.served(SHOP);
    assert.equal(request.pid, pid);
    request.close();
  }
  await bench.advance(20_000, 1000);
  assert.equal(bench.spawner.attempts.length, 6);
});

test('touching restart.txt ten times a second fails no request and restarts at most every 2 s', async () => {
  const bench = new Bench({ statThrottleRate: '0' });
  await bench.served(SHOP);
  bench.spawner.knobs.delayMs = 300;
  for (let tenth = 0; tenth < 300; tenth += 1) {
    bench.files.touch('/srv/shop');
    const request = bench.request(SHOP);
    await bench.advance(100);
    assert.notEqual(request.state, 'failed');
    await bench.advance(1);
    request.close();
  }
  const burst = 3;
  assert(bench.spawner.attempts.length - 1 <= 15 + burst, `${bench.spawner.attempts.length} starts`);
});

test('a touch mends a broken app at the next request, although its error is stored', async () => {
  const bench = new Bench({ statThrottleRate: '0' });
  bench.spawner.knobs.failAt = 'loading';
  const first = bench.request(SHOP);
  await bench.settle();
  assert.equal(first.state, 'failed');
  bench.spawner.knobs.failAt = undefined;
  bench.files.touch('/srv/shop');
  await bench.served(SHOP);
});
