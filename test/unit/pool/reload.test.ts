/** Apache's reload: nobody notices; running apps get new code and new settings in the background. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PROOF_MS } from '../../../core/pool/deployment.js';
import { appConfig, Bench, serverSettings } from './pool-fixture.js';

const SHOP = appConfig();
const alive = (bench: Bench): number[] => bench.spawner.alive.map((process) => process.pid);

test('after a reload the old process serves until the new one is ready and has lived for a second', async () => {
  const bench = new Bench();
  const before = await bench.served(SHOP);
  bench.spawner.knobs.delayMs = 2000;
  bench.pool.reload(serverSettings(), 2);
  const first = bench.request(SHOP, { generation: 2 });
  assert.equal(first.pid, 1000, 'no cold start');
  assert.equal(bench.spawner.attempts.length, 2);
  await bench.advance(2900);
  assert.equal(bench.request(SHOP, { generation: 2 }).pid, 1000);
  await bench.advance(100);
  assert.equal(bench.request(SHOP, { generation: 2 }).pid, 1001);
  assert.deepEqual(bench.spawner.processes[0]?.told, [], 'it finishes its requests');
  before.close();
});

test('a redeploy works in a full pool too', async () => {
  const bench = new Bench({ maxPoolSize: '1' });
  (await bench.served(SHOP)).close();
  bench.pool.reload(serverSettings({ maxPoolSize: '1' }), 2);
  (await bench.served(SHOP, { generation: 2 })).close();
  await bench.advance(PROOF_MS);
  assert.deepEqual(alive(bench), [1001]);
});

test('without traffic an app is redeployed a second after the reload, with the settings that are known', async () => {
  const bench = new Bench();
  (await bench.served(SHOP)).close();
  bench.pool.reload(serverSettings(), 2);
  await bench.advance(900);
  assert.deepEqual(alive(bench), [1000]);
  await bench.advance(200);
  assert.deepEqual(alive(bench), [1000, 1001], 'its substitute is there');
  await bench.advance(PROOF_MS);
  assert.deepEqual(alive(bench), [1001]);
  await bench.served(SHOP, { generation: 2 });
  await bench.settle();
  assert.deepEqual(alive(bench), [1001], 'and not once more at its first request');
});

test('a request with changed settings redeploys even after the app was redeployed with the known ones', async () => {
  const bench = new Bench();
  (await bench.served(SHOP)).close();
  bench.pool.reload(serverSettings(), 2);
  await bench.advance(1100 + PROOF_MS);
  const changed = appConfig('shop', { minInstances: '2' });
  assert.equal(changed.groupKey, SHOP.groupKey);
  (await bench.served(changed, { generation: 2 })).close();
  await bench.advance(PROOF_MS);
  assert.deepEqual(alive(bench), [1002, 1003]);
});

test('a group whose settings make another group after the reload ends with the first request of that one', async () => {
  const bench = new Bench();
  const open = await bench.served(SHOP);
  bench.pool.reload(serverSettings(), 2);
  const moved = appConfig('shop', { user: 'alice' });
  assert.notEqual(moved.groupKey, SHOP.groupKey);
  (await bench.served(moved, { generation: 2 })).close();
  assert.deepEqual(alive(bench), [1000, 1001], 'it finishes its requests');
  open.close();
  await bench.settle();
  assert.deepEqual(alive(bench), [1001]);
});

test('groups of one name that are both asked for after a reload both stay', async () => {
  const bench = new Bench();
  const other = appConfig('shop', { user: 'alice' });
  (await bench.served(SHOP)).close();
  (await bench.served(other)).close();
  bench.pool.reload(serverSettings(), 2);
  (await bench.served(other, { generation: 2 })).close();
  (await bench.served(SHOP, { generation: 2 })).close();
  await bench.advance(PROOF_MS);
  assert.equal(alive(bench).length, 2);
});

test('RedeployOnReload Off leaves an unchanged app alone', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { redeployOnReload: 'off' });
  (await bench.served(config)).close();
  bench.pool.reload(serverSettings(), 2);
  await bench.served(appConfig('shop', { redeployOnReload: 'off' }), { generation: 2 });
  await bench.advance(2000);
  assert.deepEqual(alive(bench), [1000]);
});

test('RedeployOnReload Off still redeploys an app whose configuration has changed', async () => {
  const bench = new Bench();
  (await bench.served(appConfig('shop', { redeployOnReload: 'off' }))).close();
  bench.pool.reload(serverSettings(), 2);
  const changed = appConfig('shop', { redeployOnReload: 'off', drainTimeout: '5' });
  (await bench.served(changed, { generation: 2 })).close();
  await bench.advance(PROOF_MS);
  assert.deepEqual(alive(bench), [1001]);
});

test('requests of the generation before are served and confirm nothing', async () => {
  const bench = new Bench();
  (await bench.served(SHOP)).close();
  bench.pool.reload(serverSettings(), 2);
  await bench.served(appConfig('shop', { minInstances: '3' }), { generation: 1 });
  assert.equal(bench.group(SHOP).limits.minInstances, 1);
  assert.equal(bench.group(SHOP).confirmed, 1);
});

test('a request that is faster than the news of its reload redeploys once', async () => {
  const bench = new Bench();
  (await bench.served(SHOP)).close();
  (await bench.served(SHOP, { generation: 2 })).close();
  await bench.settle();
  bench.pool.reload(serverSettings(), 2);
  await bench.advance(2000);
  await bench.served(SHOP, { generation: 2 });
  assert.deepEqual(alive(bench), [1001]);
});

test('reloading every second neither fails a request nor keeps a slow app from starting', async () => {
  const bench = new Bench();
  bench.spawner.knobs.delayMs = 3500;
  const first = bench.request(SHOP);
  for (let generation = 2; generation < 40; generation += 1) {
    bench.pool.reload(serverSettings(), generation);
    const request = bench.request(SHOP, { generation });
    await bench.advance(1000);
    assert.notEqual(request.state, 'failed');
    assert(bench.spawner.alive.length <= 3, 'processes do not pile up');
    request.close();
  }
  assert.equal(first.state, 'serving');
  await bench.advance(10_000);
  assert.equal(
    bench.spawner.alive.at(-1)?.generation,
    bench.group(SHOP).code,
    'the newest code runs in the end',
  );
});

test('when the redeployed code does not start, the old process goes on serving', async () => {
  const bench = new Bench();
  (await bench.served(SHOP)).close();
  bench.spawner.knobs.failAt = 'loading';
  bench.pool.reload(serverSettings(), 2);
  for (let n = 0; n < 20; n += 1) {
    await bench.served(SHOP, { generation: 2 });
    await bench.advance(1000);
  }
  bench.spawner.knobs.failAt = undefined;
  await bench.advance(31_000, 1000);
  assert.equal(bench.request(SHOP, { generation: 2 }).session?.process.key, `p${alive(bench).at(-1)}`);
  assert.notEqual(alive(bench).at(-1), 1000);
});

test('an app that no request has asked for within PoolIdleTime after a reload is shut down', async () => {
  const bench = new Bench({ poolIdleTime: '60' });
  (await bench.served(SHOP)).close();
  const other = appConfig('other');
  (await bench.served(other)).close();
  bench.pool.reload(serverSettings({ poolIdleTime: '60' }), 2);
  (await bench.served(other, { generation: 2 })).close();
  await bench.advance(61_000, 1000);
  assert.equal(bench.registry.size, 1);
  assert.deepEqual(
    bench.spawner.alive.map((process) => process.config.appRoot),
    ['/srv/other'],
  );
});

test('a reload of many apps starts at most four of them at a time', async () => {
  const bench = new Bench({ maxPoolSize: '50' });
  for (let n = 0; n < 10; n += 1) (await bench.served(appConfig(`app${n}`))).close();
  bench.spawner.knobs.delayMs = undefined;
  bench.pool.reload(serverSettings({ maxPoolSize: '50' }), 2);
  await bench.advance(1100);
  assert.equal(bench.spawner.pending.length, 4);
  for (let n = 0; n < 10; n += 1) {
    bench.spawner.finish();
    await bench.settle();
    assert(bench.spawner.pending.length <= 4);
  }
  assert.equal(bench.spawner.attempts.length, 20);
});

test('an adopted process serves at once; the minimum waits until all have been adopted', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { minInstances: '2' });
  const [first, second] = [bench.spawner.process(config, 3), bench.spawner.process(config, 3)];
  bench.pool.adopt({ handle: first, config, generation: 3 });
  assert.equal(bench.request(config).pid, 1000);
  bench.pool.adopt({ handle: second, config, generation: 3 });
  await bench.advance(2000);
  assert.equal(bench.spawner.attempts.length, 0);
  second.exit();
  await bench.settle();
  assert.equal(bench.spawner.attempts.length, 1);
});

test('of adopted processes, those with older code are replaced', async () => {
  const bench = new Bench();
  const [old, fresh] = [bench.spawner.process(SHOP, 1), bench.spawner.process(SHOP, 2)];
  bench.pool.adopt({ handle: old, config: SHOP, generation: 1 });
  bench.pool.adopt({ handle: fresh, config: SHOP, generation: 2 });
  await bench.advance(900);
  assert.deepEqual(alive(bench), [1000, 1001], 'when all are known');
  await bench.advance(600);
  assert.deepEqual(alive(bench), [1001, 1002]);
});

test('an adopted process whose code is older than the last reload is not started anew for that', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { redeployOnReload: 'off' });
  bench.registry.advance(5);
  bench.pool.adopt({ handle: bench.spawner.process(config, 2), config, generation: 2 });
  await bench.advance(1500);
  (await bench.served(config, { generation: 5 })).close();
  await bench.settle();
  assert.deepEqual(alive(bench), [1000]);
});

test('a process that is adopted when the stop has begun is stopped too', async () => {
  const bench = new Bench();
  (await bench.served(SHOP)).session?.close('ok');
  bench.spawner.knobs.exitDelayMs = 500;
  let stopped = false;
  void bench.pool.stop(10_000).then(() => (stopped = true));
  bench.pool.adopt({ handle: bench.spawner.process(SHOP, 1), config: SHOP, generation: 1 });
  await bench.advance(2000);
  assert.equal(stopped, true);
  assert.deepEqual(alive(bench), []);
  assert.equal(bench.clock.pending, 0);
});
