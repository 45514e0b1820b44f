/** MaxPoolSize: who gets a place, who makes way, and what becomes of idle processes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AppConfig } from '../../../core/config/app-config.js';
import { PROOF_MS } from '../../../core/pool/deployment.js';
import { appConfig, Bench, serverSettings, type FakeRequest } from './pool-fixture.js';

const pids = (bench: Bench): number[] => bench.spawner.alive.map((process) => process.pid);

test('never more processes than MaxPoolSize', async () => {
  const bench = new Bench({ maxPoolSize: '3' });
  const config = appConfig('shop', { forceMaxConcurrentRequestsPerProcess: '1' });
  for (let n = 0; n < 10; n += 1) bench.request(config);
  await bench.settle();
  assert.equal(bench.spawner.alive.length, 3);
});

test('when the pool is full, the longest idle process above its minimum makes way for a new app', async () => {
  const bench = new Bench({ maxPoolSize: '3' });
  const a = appConfig('a', { minInstances: '1' });
  const b = appConfig('b', {
    minInstances: '1',
    forceMaxConcurrentRequestsPerProcess: '1',
    maxInstances: '2',
  });
  (await bench.served(a)).close();
  await bench.advance(1000);
  const both: FakeRequest[] = [bench.request(b), bench.request(b)];
  await bench.settle();
  both[0]?.close();
  await bench.advance(1000);
  both[1]?.close();
  await bench.served(appConfig('c'));
  assert.deepEqual(pids(bench), [1000, 1002, 1003], 'a is idle for longer, but b is above its minimum');
});

test('when no idle process is above its minimum, the longest idle one of any app makes way', async () => {
  const bench = new Bench({ maxPoolSize: '2' });
  (await bench.served(appConfig('a'))).close();
  await bench.advance(1000);
  (await bench.served(appConfig('b'))).close();
  await bench.served(appConfig('c'));
  assert.deepEqual(pids(bench), [1001, 1002]);
  assert.equal(bench.pool.snapshot().capacityUsed, 2);
});

test('when no idle process is above its minimum, apps with several give before one that has only one', async () => {
  const bench = new Bench({ maxPoolSize: '4' });
  (await bench.served(appConfig('small'))).close();
  await bench.advance(1000);
  (await bench.served(appConfig('large', { minInstances: '5' }))).close();
  await bench.settle();
  const roots = (): (string | undefined)[] =>
    bench.spawner.alive.map(({ config }) => config.groupName).sort();
  const name = (app: string): string => appConfig(app).groupName;
  assert.deepEqual(roots(), [name('large'), name('large'), name('large'), name('small')]);
  for (const other of ['b', 'c']) (await bench.served(appConfig(other))).close();
  assert.deepEqual(roots(), [name('b'), name('c'), name('large'), name('small')]);
  (await bench.served(appConfig('d'))).close();
  assert.deepEqual(roots(), [name('b'), name('c'), name('d'), name('large')], 'now the longest idle of all');
});

test('when nobody is idle the request waits, and the first process that becomes idle makes way', async () => {
  const bench = new Bench({ maxPoolSize: '1' });
  const busy = await bench.served(appConfig('a'));
  const waiting = bench.request(appConfig('b'));
  await bench.settle();
  assert.equal(waiting.state, 'waiting');
  const starving = (): boolean[] => bench.pool.snapshot().groups.map((group) => group.starving);
  assert.equal(bench.pool.snapshot().starvingGroups, 1);
  assert.deepEqual(starving(), [false, true]);
  busy.close();
  await bench.settle();
  assert.equal(waiting.state, 'serving');
  assert.deepEqual(starving(), [false, false]);
});

test('apps that wait for a place get it in the order in which they came', async () => {
  const bench = new Bench({ maxPoolSize: '1' });
  const busy = await bench.served(appConfig('a'));
  const order: string[] = [];
  const waiting = ['b', 'c', 'd'].map((name) => {
    const request = bench.request(appConfig(name));
    const told = request.onSession.bind(request);
    request.onSession = (session) => {
      told(session);
      order.push(name);
    };
    return request;
  });
  // A second request of the first app asks again and again; that does not cost anybody the turn.
  bench.request(appConfig('b'));
  busy.close();
  for (let step = 0; step < 6; step += 1) {
    await bench.settle();
    for (const request of waiting) request.close();
  }
  assert.deepEqual(order.slice(0, 1), ['b']);
  assert.equal(order.indexOf('c') < order.indexOf('d') || !order.includes('d'), true);
});

test('beside an app that is never idle nobody starves for long: one of several busy processes makes way', async () => {
  const bench = new Bench({ maxPoolSize: '2' });
  const greedy = appConfig('greedy', { forceMaxConcurrentRequestsPerProcess: '1' });
  const held = [bench.request(greedy), bench.request(greedy)];
  await bench.settle();
  bench.request(greedy);
  const waiting = bench.request(appConfig('b'));
  await bench.advance(4900, 100);
  assert.equal(waiting.state, 'waiting');
  await bench.advance(200, 100);
  assert.equal(waiting.state, 'serving');
  assert.equal(bench.group(greedy).serving.length, 1, 'the app keeps a process');
  assert.deepEqual(
    held.map((request) => request.state),
    ['serving', 'serving'],
    'and its requests are finished',
  );
});

test('two apps that are never idle take turns in one place, and do not start all the time', async () => {
  const bench = new Bench({ maxPoolSize: '1' });
  const apps = ['a', 'b'].map((name) => appConfig(name));
  let open: FakeRequest[] = [];
  let longestWait = 0;
  const since = new Map<FakeRequest, number>();
  for (let second = 0; second < 300; second += 1) {
    // Each app has a new request before the one of the second before is finished.
    const fresh = apps.map((app) => bench.request(app));
    for (const request of fresh) since.set(request, second);
    await bench.advance(1000);
    const over = open.filter((request) => request.state !== 'waiting');
    for (const request of over) {
      assert.equal(request.state, 'serving');
      request.close();
    }
    open = [...open.filter((request) => request.state === 'waiting'), ...fresh];
    longestWait = Math.max(longestWait, ...open.map((request) => second - (since.get(request) ?? 0)));
  }
  assert.ok(longestWait <= 35, `longest wait ${longestWait} s`);
  const starts = bench.spawner.attempts.length;
  assert.ok(starts >= 8 && starts <= 11, `${starts} starts in 300 s`);
});

test('a starving app whose requests have all gone wants nothing any more', async () => {
  const bench = new Bench({ maxPoolSize: '1' });
  const busy = await bench.served(appConfig('a'));
  const waiting = bench.request(appConfig('b'));
  waiting.cancel();
  assert.equal(bench.pool.snapshot().starvingGroups, 0);
  busy.close();
  await bench.settle();
  assert.deepEqual(pids(bench), [1000]);
});

test('a minimum that found no room is restored when there is room', async () => {
  const bench = new Bench({ maxPoolSize: '2' });
  const a = await bench.served(appConfig('a', { minInstances: '2' }));
  await bench.settle();
  a.close();
  const b = appConfig('b', { minInstances: '0' });
  (await bench.served(b)).close();
  assert.equal(bench.group(appConfig('a', { minInstances: '2' })).serving.length, 1);
  await bench.advance(301_000, 10_000);
  assert.equal(
    bench.group(appConfig('a', { minInstances: '2' })).serving.length,
    2,
    'b was idle and has gone',
  );
});

test('idle processes above the minimum go after PoolIdleTime, not before', async () => {
  const bench = new Bench({ poolIdleTime: '60' });
  const config = appConfig('shop', { forceMaxConcurrentRequestsPerProcess: '1', maxInstances: '3' });
  const requests = [1, 2, 3].map(() => bench.request(config));
  await bench.settle();
  for (const request of requests) request.close();
  await bench.advance(59_000, 1000);
  assert.equal(bench.spawner.alive.length, 3);
  await bench.advance(2000, 1000);
  assert.equal(bench.spawner.alive.length, 1);
});

test('PoolIdleTime 0 keeps idle processes', async () => {
  const bench = new Bench({ poolIdleTime: '0' });
  (await bench.served(appConfig('shop', { minInstances: '0' }))).close();
  await bench.advance(1_000_000, 100_000);
  assert.equal(bench.spawner.alive.length, 1);
});

test('an app with a minimum of 0 may go wholly and is forgotten when nobody asks', async () => {
  const bench = new Bench({ poolIdleTime: '60' });
  (await bench.served(appConfig('shop', { minInstances: '0' }))).close();
  await bench.advance(61_000, 1000);
  assert.equal(bench.spawner.alive.length, 0);
  await bench.advance(61_000, 1000);
  assert.equal(bench.registry.size, 0);
  await bench.served(appConfig('shop', { minInstances: '0' }));
});

test('PassengerMaxInstances goes before MaxInstancesPerApp, and both before the minimum', async () => {
  const bench = new Bench({ maxPoolSize: '10', maxInstancesPerApp: '1' });
  await bench.served(appConfig('a', { minInstances: '3', maxInstances: '2' }));
  await bench.served(appConfig('b', { minInstances: '3' }));
  await bench.settle();
  assert.equal(bench.spawner.alive.filter((process) => process.config.appRoot === '/srv/a').length, 2);
  assert.equal(bench.spawner.alive.filter((process) => process.config.appRoot === '/srv/b').length, 1);
});

test('a lowered MaxInstancesPerApp holds at once: idle processes go first, busy ones finish', async () => {
  const bench = new Bench({ maxPoolSize: '10' });
  const config = appConfig('a', { minInstances: '4', redeployOnReload: 'off' });
  const busy = [await bench.served(config), await bench.served(config)];
  await bench.settle();
  assert.equal(bench.spawner.alive.length, 4);
  const lower = (maxInstancesPerApp: string, generation: number): void =>
    bench.pool.reload(serverSettings({ maxPoolSize: '10', maxInstancesPerApp }), generation);
  lower('2', 1);
  await bench.settle();
  assert.deepEqual(
    pids(bench),
    busy.map(({ pid }) => pid),
  );
  lower('1', 1);
  await bench.settle();
  const states = bench.pool.snapshot().groups[0]?.processes.map(({ state }) => state);
  assert.deepEqual(states?.sort(), ['draining', 'ready']);
  for (const request of busy) request.close();
  await bench.settle();
  assert.equal(bench.spawner.alive.length, 1);
});

test('a lowered PassengerMaxInstances holds with the first request that brings it, while the code is replaced', async () => {
  const bench = new Bench({ maxPoolSize: '10' });
  const app = (maxInstances: string): AppConfig => appConfig('a', { minInstances: '4', maxInstances });
  (await bench.served(app('0'))).close();
  await bench.settle();
  bench.pool.reload(serverSettings({ maxPoolSize: '10' }), 2);
  (await bench.served(app('2'), { generation: 2 })).close();
  assert.equal(bench.group(app('2')).serving.length, 2, 'old ones, until the new code is ready');
  await bench.advance(PROOF_MS);
  assert.deepEqual(pids(bench).length, 2);
  assert.equal(bench.group(app('2')).deployment, 'settled');
});

test('a raised MaxPoolSize serves those who wait, a lowered one drains idle processes first', async () => {
  const bench = new Bench({ maxPoolSize: '1' });
  const first = await bench.served(appConfig('a'));
  const second = bench.request(appConfig('b'));
  bench.pool.reload(serverSettings({ maxPoolSize: '2' }), 1);
  await bench.settle();
  assert.equal(second.state, 'serving');
  second.close();
  bench.pool.reload(serverSettings({ maxPoolSize: '1' }), 1);
  await bench.settle();
  assert.deepEqual(pids(bench), [1000]);
  first.close();
});

test('no more requests wait than PassengerMaxWaitingRequests says, whatever their apps; one line for many', async () => {
  const bench = new Bench({ maxPoolSize: '1', maxWaitingRequests: '3' });
  const busy = await bench.served(appConfig('a', { forceMaxConcurrentRequestsPerProcess: '1' }));
  const waiting = ['b', 'c', 'd', 'e'].map((name) => bench.request(appConfig(name)));
  await bench.settle();
  assert.deepEqual(
    waiting.map(({ failure }) => failure?.code),
    [undefined, undefined, undefined, 'PSG5020'],
  );
  bench.request(appConfig('b'));
  assert.equal(bench.logged('PSG5020'), 1);
  waiting[0]?.cancel();
  const next = bench.request(appConfig('e'));
  assert.equal(next.state, 'waiting', 'one has gone');
  bench.pool.reload(serverSettings({ maxPoolSize: '1', maxWaitingRequests: '0' }), 1);
  assert.equal(bench.request(appConfig('f')).state, 'waiting', '0 is no limit');
  busy.close();
});

test('who waits for one process alone, or for a look at the restart files, counts for PassengerMaxWaitingRequests', async () => {
  const bench = new Bench({ maxWaitingRequests: '2' });
  const single = { forceMaxConcurrentRequestsPerProcess: '1', maxInstances: '1' };
  const sticky = { sticky: { ids: [(await bench.served(appConfig('a', single))).session?.stickyId ?? ''] } };
  (await bench.served(appConfig('b'))).close();
  bench.files.hang = true;
  await bench.advance(10_000);
  const alone = bench.request(appConfig('a', single), sticky);
  await bench.advance(1000);
  const held = bench.request(appConfig('b'));
  await bench.settle();
  assert.deepEqual([alone.state, held.state, bench.pool.waitingTotal.count], ['waiting', 'waiting', 2]);
  const refused = bench.request(appConfig('a', single), sticky);
  await bench.settle();
  assert.equal(refused.failure?.code, 'PSG5020');
  assert.equal(refused.failure.row.status, 503);
  await bench.advance(1000);
  assert.equal(held.state, 'serving', 'the look has taken too long');
  assert.equal(bench.request(appConfig('a', single)).state, 'waiting');
});

test('a full house does not refuse who can be served at once, and holds nobody for a look', async () => {
  const bench = new Bench({ maxWaitingRequests: '1' });
  const busy = appConfig('a', { forceMaxConcurrentRequestsPerProcess: '1', maxInstances: '1' });
  const free = appConfig('b');
  await bench.served(busy);
  (await bench.served(free)).close();
  await bench.advance(10_000);
  assert.equal(bench.request(busy).state, 'waiting');
  await bench.settle();
  bench.files.hang = true;
  const served = bench.request(free);
  await bench.settle();
  assert.equal(served.state, 'serving');
});
