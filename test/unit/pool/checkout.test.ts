/** From a request to a session: the fast way, waiting, refusals, and what a start that fails does to requests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appConfig, Bench } from './pool-fixture.js';

test('the first request starts the group and waits for its first process', async () => {
  const bench = new Bench();
  bench.spawner.knobs.delayMs = 800;
  const request = bench.request(appConfig());
  assert.equal(request.state, 'waiting');
  assert.equal(bench.spawner.attempts.length, 1);
  await bench.advance(700);
  assert.equal(request.state, 'waiting');
  await bench.advance(100);
  assert.equal(request.state, 'serving');
});

test('a request for a warm app gets its session at once, without a callback', async () => {
  const bench = new Bench();
  await bench.served(appConfig());
  const second = bench.request(appConfig());
  assert.equal(second.state, 'serving');
  assert.equal(second.ticket, undefined);
  assert.equal(second.session?.socketPath, '/apps/p1000.sock');
});

test('MinInstances are started from the moment the group exists, the first one alone', async () => {
  const bench = new Bench();
  bench.spawner.knobs.delayMs = undefined;
  bench.request(appConfig('shop', { minInstances: '4' }));
  assert.equal(bench.spawner.attempts.length, 1, 'one start shows whether the code works');
  bench.spawner.finish();
  await bench.settle();
  assert.equal(bench.spawner.pending.length, 2, 'then two at a time');
  bench.spawner.finish();
  await bench.settle();
  bench.spawner.finish();
  await bench.settle();
  bench.spawner.finish();
  await bench.settle();
  assert.equal(bench.spawner.alive.length, 4);
  assert.equal(bench.spawner.pending.length, 0);
});

test('a closed session can be closed again without harm', async () => {
  const bench = new Bench();
  const request = await bench.served(appConfig());
  request.close();
  request.close();
  assert.equal(bench.pool.snapshot().groups[0]?.processes[0]?.sessions, 0);
  assert.equal(bench.pool.snapshot().groups[0]?.processes[0]?.processed, 1);
});

test('unlimited concurrency: one process takes all sessions and no other is started', async () => {
  const bench = new Bench();
  for (let n = 0; n < 200; n += 1) await bench.served(appConfig());
  assert.equal(bench.spawner.attempts.length, 1);
});

test('ForceMaxConcurrentRequestsPerProcess lets a group grow and the others wait, first come first served', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { forceMaxConcurrentRequestsPerProcess: '1', maxInstances: '2' });
  const requests = Array.from({ length: 4 }, () => bench.request(config));
  await bench.settle();
  assert.deepEqual(
    requests.map((request) => request.state),
    ['serving', 'serving', 'waiting', 'waiting'],
  );
  assert.equal(bench.spawner.attempts.length, 2);
  requests[0]?.close();
  assert.equal(requests[2]?.state, 'serving');
  assert.equal(requests[3]?.state, 'waiting');
});

test('the concurrency that the app reports counts where nothing is forced', async () => {
  const bench = new Bench({ maxInstancesPerApp: '1' });
  bench.spawner.knobs.concurrency = 2;
  const requests = [1, 2, 3].map(() => bench.request(appConfig()));
  await bench.settle();
  assert.deepEqual(
    requests.map((request) => request.state),
    ['serving', 'serving', 'waiting'],
  );
});

test('ForceMaxConcurrentRequestsPerProcess 0 means unlimited whatever the app reports', async () => {
  const bench = new Bench();
  bench.spawner.knobs.concurrency = 1;
  const config = appConfig('shop', { forceMaxConcurrentRequestsPerProcess: '0' });
  for (let n = 0; n < 5; n += 1) await bench.served(config);
  assert.equal(bench.spawner.attempts.length, 1);
});

test('a program that says nothing of its concurrency takes any number of requests', async () => {
  const bench = new Bench();
  bench.spawner.knobs.concurrency = -1;
  const requests = Array.from({ length: 30 }, () => bench.request(appConfig()));
  await bench.settle();
  assert.ok(requests.every(({ state }) => state === 'serving'));
  assert.equal(bench.spawner.attempts.length, 1);
});

test('a full waiting list refuses with 503 and one line for many', async () => {
  const bench = new Bench();
  bench.spawner.knobs.delayMs = 5000;
  const config = appConfig('shop', { maxRequestQueueSize: '2' });
  const requests = Array.from({ length: 5 }, () => bench.request(config));
  assert.equal(requests[4]?.state, 'waiting', 'nobody is told before checkout has returned');
  await bench.settle();
  assert.deepEqual(
    requests.map((request) => request.failure?.code),
    [undefined, undefined, 'PSG5001', 'PSG5001', 'PSG5001'],
  );
  assert.equal(requests[4]?.failure?.row.status, 503);
  assert.equal(bench.logged('PSG5001'), 1);
});

test('MaxRequestQueueSize 0 refuses nobody', async () => {
  const bench = new Bench();
  bench.spawner.knobs.delayMs = 5000;
  const config = appConfig('shop', { maxRequestQueueSize: '0' });
  const requests = Array.from({ length: 300 }, () => bench.request(config));
  await bench.settle();
  assert(requests.every((request) => request.state === 'waiting'));
});

test('a request waits no longer than its own limit, and without one not for ever', async () => {
  const bench = new Bench();
  bench.spawner.knobs.delayMs = undefined;
  const config = appConfig('shop', { startTimeout: '20' });
  const hasty = bench.request(config, { maxQueueTimeMs: 3000 });
  const patient = bench.request(config);
  await bench.advance(2900);
  assert.equal(hasty.state, 'waiting');
  await bench.advance(200);
  assert.equal(hasty.failure?.code, 'PSG5002');
  assert.equal(patient.state, 'waiting');
  await bench.advance(47_000);
  assert.equal(patient.failure?.code, 'PSG5002');
});

test('a canceled request hears nothing and leaves its place to the next', async () => {
  const bench = new Bench();
  bench.spawner.knobs.delayMs = 1000;
  const config = appConfig('shop', { forceMaxConcurrentRequestsPerProcess: '1', maxInstances: '1' });
  const first = bench.request(config);
  const second = bench.request(config);
  first.cancel();
  first.cancel();
  await bench.advance(1000);
  assert.equal(first.session, undefined);
  assert.equal(second.state, 'serving');
});

test('a slot given to a request that cancels before it hears of it comes back', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { forceMaxConcurrentRequestsPerProcess: '2', maxInstances: '1' });
  bench.spawner.knobs.delayMs = 100;
  const first = bench.request(config);
  const second = bench.request(config);
  // The first to hear ends the second, whose session has been taken from the books already.
  const told = first.onSession.bind(first);
  first.onSession = (session) => {
    told(session);
    second.cancel();
  };
  await bench.advance(100);
  assert.equal(first.state, 'serving');
  assert.equal(second.session, undefined);
  assert.equal(bench.pool.snapshot().groups[0]?.processes[0]?.sessions, 1);
});

test('when a start fails all waiting requests get its error, and later ones get it at once during the pause', async () => {
  const bench = new Bench();
  bench.spawner.knobs.delayMs = undefined;
  const waiting = [1, 2, 3].map(() => bench.request(appConfig()));
  bench.spawner.finish('listening');
  await bench.settle();
  for (const request of waiting) assert.equal(request.failure?.details['step'], 'listening');
  const later = bench.request(appConfig());
  await bench.settle();
  assert.equal(later.failure, waiting[0]?.failure, 'the same stored error');
  assert.equal(bench.spawner.attempts.length, 1, 'no start during the pause');
  assert.equal(bench.logged('PSG5003'), 1);
  const { code, row } = waiting[0]?.failure ?? {};
  assert.equal(bench.logged(`error=${code} why="${row?.message}"`), 1, 'a number alone tells nothing');
});

test('starts that go on failing are tried after 1, 2, 4 … 30 seconds', async () => {
  const bench = new Bench();
  bench.spawner.knobs.failAt = 'loading';
  bench.request(appConfig());
  const starts: number[] = [];
  const begin = bench.clock.now();
  for (let tenth = 0; tenth < 1300; tenth += 1) {
    while (starts.length < bench.spawner.attempts.length) starts.push(bench.clock.now() - begin);
    await bench.advance(100);
  }
  const pauses = starts.slice(1).map((at, index) => Math.round((at - (starts[index] ?? 0)) / 1000));
  assert.deepEqual(pauses.slice(0, 7), [1, 2, 4, 8, 16, 30, 30]);
});

test('after the pause the next request starts the app anew and is served', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { minInstances: '0' });
  bench.spawner.knobs.failAt = 'loading';
  bench.request(config);
  await bench.settle();
  bench.spawner.knobs.failAt = undefined;
  await bench.advance(1100);
  assert.equal(bench.spawner.attempts.length, 1, 'with a minimum of 0 nothing is tried without a request');
  await bench.served(config);
});

test('a failing start beside running processes fails no request', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { minInstances: '1', forceMaxConcurrentRequestsPerProcess: '1' });
  bench.spawner.knobs.delayMs = undefined;
  const first = bench.request(config);
  bench.spawner.finish();
  await bench.settle();
  const second = bench.request(config);
  bench.spawner.finish('loading');
  await bench.settle();
  assert.equal(second.state, 'waiting');
  first.close();
  assert.equal(second.state, 'serving');
});

test('an error without a number becomes one', async () => {
  const bench = new Bench();
  bench.spawner.spawn = () => ({
    id: 1,
    pid: undefined,
    ready: Promise.reject(new Error('boom')),
    cancel: () => undefined,
    abort: () => undefined,
    hurry: () => undefined,
  });
  const request = bench.request(appConfig());
  await bench.settle();
  assert.equal(request.failure?.code, 'PSG5004');
});

test('the snapshot is plain data that says what passenger-status shows', async () => {
  const bench = new Bench();
  await bench.served(appConfig());
  bench.spawner.processes[0]?.report({ elu: 0.5, heapUsed: 1000 });
  await bench.advance(2000);
  const snapshot = bench.pool.snapshot();
  assert.equal(snapshot.capacityUsed, 1);
  const [group] = snapshot.groups;
  assert.equal(group?.name, '/srv/shop (production)');
  const [process] = group?.processes ?? [];
  assert.deepEqual(
    [process?.pid, process?.state, process?.sessions, process?.uptimeMs, process?.elu],
    [1000, 'ready', 1, 2000, 0.5],
  );
});
