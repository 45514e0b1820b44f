/** Processes that end by themselves, and processes that are ended. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appConfig, Bench } from './pool-fixture.js';

test('a process that ends unexpectedly is replaced at once, without a request', async () => {
  const bench = new Bench();
  await bench.served(appConfig());
  bench.spawner.alive[0]?.exit({ signal: 'SIGKILL' });
  await bench.settle();
  assert.equal(bench.spawner.alive.length, 1);
  assert.equal(bench.spawner.alive[0]?.pid, 1001);
  assert.equal(bench.logged('PSG5005'), 1);
});

test('sessions of a dead process are closed by their owners and harm no books', async () => {
  const bench = new Bench();
  const request = await bench.served(appConfig());
  bench.spawner.alive[0]?.exit();
  await bench.settle();
  request.close();
  const processes = bench.pool.snapshot().groups[0]?.processes ?? [];
  assert.deepEqual(
    processes.map((process) => [process.pid, process.sessions]),
    [[1001, 0]],
  );
});

test('requests that wait when a process dies are served by its replacement', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { forceMaxConcurrentRequestsPerProcess: '1', maxInstances: '1' });
  await bench.served(config);
  const waiting = bench.request(config);
  bench.spawner.alive[0]?.exit();
  await bench.settle();
  assert.equal(waiting.state, 'serving');
  assert.equal(waiting.pid, 1001);
});

test('a crash loop is slowed down: at once, at once, then 1, 2, 4 … 30 seconds', async () => {
  const bench = new Bench();
  bench.spawner.knobs.exitAfterMs = 100;
  bench.request(appConfig());
  const starts: number[] = [];
  const begin = bench.clock.now();
  for (let twentieth = 0; twentieth < 1600; twentieth += 1) {
    while (starts.length < bench.spawner.attempts.length) starts.push(bench.clock.now() - begin);
    await bench.advance(50);
  }
  const pauses = starts.slice(1).map((at, index) => Math.round((at - (starts[index] ?? 0) - 100) / 1000));
  assert.deepEqual(pauses.slice(0, 8), [0, 0, 1, 2, 4, 8, 16, 30]);
});

test('requests during the pause of a crash loop get 503 at once', async () => {
  const bench = new Bench();
  bench.spawner.knobs.exitAfterMs = 100;
  bench.request(appConfig());
  await bench.advance(400, 50);
  const request = bench.request(appConfig());
  await bench.settle();
  assert.equal(request.failure?.code, 'PSG5006');
  assert.equal(request.failure?.row.status, 503);
});

test('a process that lived long makes earlier crashes forgotten', async () => {
  const bench = new Bench();
  await bench.served(appConfig());
  for (let crash = 0; crash < 6; crash += 1) {
    await bench.advance(31_000, 1000);
    bench.spawner.alive[0]?.exit();
    await bench.settle();
    assert.equal(bench.spawner.alive.length, 1, `crash ${crash} is followed by a start at once`);
  }
});

test('processes that end for one reason are one failure, however many they are', async () => {
  const bench = new Bench({ maxPoolSize: '10' });
  (await bench.served(appConfig('shop', { minInstances: '8' }))).close();
  await bench.settle();
  for (let turn = 1; turn <= 3; turn += 1) {
    assert.equal(bench.spawner.alive.length, 8);
    await bench.advance(100);
    for (const process of bench.spawner.alive) process.exit({ code: 1 });
    await bench.settle();
    assert.equal(bench.logged('PSG5006'), turn === 3 ? 1 : 0);
  }
  assert.equal(bench.spawner.alive.length, 0);
  await bench.advance(1000);
  assert.equal(bench.spawner.alive.length, 8, 'the pause of one crash loop: a second');
});

test('an app that has worked gets its minimum back after any outage, without a request', async () => {
  const bench = new Bench({ poolIdleTime: '300' });
  (await bench.served(appConfig('shop', { minInstances: '2' }))).close();
  await bench.advance(3_600_000, 60_000);
  bench.spawner.knobs.failAt = 'loading';
  for (const process of bench.spawner.alive) process.exit({ code: 1 });
  await bench.advance(3_600_000, 1000);
  assert.equal(bench.spawner.alive.length, 0);
  bench.spawner.knobs.failAt = undefined;
  await bench.advance(31_000, 1000);
  assert.equal(bench.spawner.alive.length, 2);
});

test('an app that has never worked is forgotten when nobody asks for it', async () => {
  const bench = new Bench({ poolIdleTime: '300' });
  bench.spawner.knobs.failAt = 'loading';
  bench.request(appConfig('shop', { minInstances: '2' }));
  await bench.advance(700_000, 1000);
  const attempts = bench.spawner.attempts.length;
  await bench.advance(3_600_000, 1000);
  assert.equal(bench.spawner.attempts.length, attempts);
  assert.deepEqual(bench.pool.snapshot().groups, []);
});

test('why an app has failed can be seen until a process is ready, also while the next one is tried', async () => {
  const bench = new Bench();
  bench.spawner.knobs.failAt = 'loading';
  bench.request(appConfig());
  await bench.settle();
  const seen = (): unknown[] => {
    const [group] = bench.pool.snapshot().groups;
    return [group?.failure, group?.failureMessage, group?.starting, (group?.pauseMs ?? 0) > 0];
  };
  const [failure, message] = seen();
  assert.notEqual(message, undefined);
  assert.deepEqual(seen(), [failure, message, 0, true]);
  bench.spawner.knobs.delayMs = undefined;
  await bench.advance(1000);
  assert.deepEqual(seen(), [failure, message, 1, false]);
  bench.spawner.finish();
  await bench.settle();
  assert.deepEqual(seen(), [undefined, undefined, 0, false]);
});

test('a process that refuses connections is replaced and finishes its requests', async () => {
  const bench = new Bench();
  const old = await bench.served(appConfig());
  const refused = await bench.served(appConfig());
  assert(refused.session !== undefined);
  bench.pool.reportConnectFailure(refused.session);
  refused.close();
  await bench.settle();
  const retried = await bench.served(appConfig());
  assert.equal(retried.pid, 1001);
  assert.deepEqual(bench.spawner.processes[0]?.told, [], 'the other request is not disturbed');
  old.close();
  assert.deepEqual(bench.spawner.processes[0]?.told, ['shutdown']);
});

test('a process that refuses connections because it is dead: log, page and status say how it ended', async () => {
  const bench = new Bench();
  bench.spawner.knobs.exitDelayMs = Infinity;
  for (let crash = 0; crash < 3; crash += 1) {
    const request = await bench.served(appConfig());
    assert(request.session !== undefined);
    await bench.advance(10);
    bench.pool.reportConnectFailure(request.session);
    request.close();
    bench.spawner.processes[crash]?.exit({ code: 9 });
    await bench.settle();
  }
  assert.deepEqual([bench.logged('PSG5011'), bench.logged('PSG5005'), bench.logged('PSG5006')], [3, 3, 1]);
  const late = bench.request(appConfig());
  await bench.settle();
  assert.equal(late.failure?.details['end'], 'exit code 9');
  assert.equal(late.failure.details['crashes'], 3, 'each counts once');
});

test('a process that refuses connections and goes when it is asked has not ended unexpectedly', async () => {
  const bench = new Bench();
  const request = await bench.served(appConfig());
  assert(request.session !== undefined);
  bench.pool.reportConnectFailure(request.session);
  request.close();
  bench.spawner.processes[0]?.exit({ code: 0 });
  await bench.settle();
  assert.deepEqual([bench.logged('PSG5011'), bench.logged('PSG5005')], [1, 0]);
});

test('a polite stop asks, then sends SIGTERM at half of ShutdownTimeout and kills the group at its end', async () => {
  const bench = new Bench();
  bench.spawner.knobs.exitDelayMs = Infinity;
  const config = appConfig('shop', { shutdownTimeout: '10' });
  (await bench.served(config)).close();
  bench.pool.restart(config.groupKey, 'test');
  const told = bench.spawner.processes[0]?.told;
  assert.deepEqual(told, ['shutdown']);
  await bench.advance(5000);
  assert.deepEqual(told, ['shutdown', 'SIGTERM']);
  await bench.advance(4900);
  assert.deepEqual(told, ['shutdown', 'SIGTERM']);
  await bench.advance(100);
  assert.deepEqual(told, ['shutdown', 'SIGTERM', 'SIGKILL group']);
  assert.equal(bench.logged('PSG5008'), 1);
});

test('an open session hears once that its process drains, a closed one does not', async () => {
  const bench = new Bench();
  const config = appConfig('shop');
  const [open, closed] = [await bench.served(config), await bench.served(config)];
  const heard: string[] = [];
  open.session?.onDrain(() => heard.push('open'));
  closed.session?.onDrain(() => heard.push('closed'));
  closed.close();
  bench.pool.restart(config.groupKey, 'test');
  bench.pool.restart(config.groupKey, 'test');
  assert.deepEqual(heard, ['open']);
});

test('draining has a deadline', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { drainTimeout: '60' });
  await bench.served(config);
  bench.pool.restart(config.groupKey, 'test');
  await bench.advance(59_000, 1000);
  assert.deepEqual(bench.spawner.processes[0]?.told, []);
  await bench.advance(1000);
  assert.deepEqual(bench.spawner.processes[0]?.told, ['shutdown']);
  assert.equal(bench.logged('PSG5007'), 1);
});

test('restarting again and again does not prolong the drain of an old process', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { drainTimeout: '10' });
  await bench.served(config);
  for (let second = 0; second < 10; second += 1) {
    bench.pool.restart(config.groupKey, 'test');
    await bench.advance(1000);
  }
  assert.deepEqual(bench.spawner.processes[0]?.told, ['shutdown']);
});

test('stop fails waiting requests, ends all processes politely and resolves when they are gone', async () => {
  const bench = new Bench();
  bench.spawner.knobs.exitDelayMs = 300;
  const config = appConfig('shop', { forceMaxConcurrentRequestsPerProcess: '1', maxInstances: '1' });
  const working = await bench.served(config);
  const waiting = bench.request(config);
  let stopped = false;
  void bench.pool.stop(10_000).then(() => (stopped = true));
  await bench.settle();
  assert.equal(waiting.failure?.code, 'PSG5010');
  const late = bench.request(config);
  await bench.settle();
  assert.equal(late.failure?.code, 'PSG5010');
  await bench.advance(1000);
  working.close();
  assert.equal(stopped, false);
  await bench.advance(300);
  assert.equal(stopped, true);
  assert.equal(bench.clock.pending, 0, 'no timer is left');
});

test('stop breaks off stuck requests and kills what does not exit, within its deadline', async () => {
  const bench = new Bench();
  bench.spawner.knobs.exitDelayMs = Infinity;
  await bench.served(appConfig());
  let stopped = false;
  void bench.pool.stop(10_000).then(() => (stopped = true));
  await bench.advance(10_000);
  assert.equal(stopped, true);
  assert.deepEqual(bench.spawner.alive, []);
});

test('stop cancels starts, also one that is too late to be canceled', async () => {
  const bench = new Bench();
  bench.spawner.knobs.delayMs = undefined;
  bench.request(appConfig());
  const attempt = bench.spawner.attempts[0];
  assert(attempt !== undefined);
  attempt.cancel = () => undefined;
  let stopped = false;
  void bench.pool.stop(10_000).then(() => (stopped = true));
  await bench.settle();
  assert.equal(stopped, false);
  attempt.succeed();
  await bench.settle();
  assert.deepEqual(bench.spawner.processes[0]?.told, ['shutdown']);
  assert.equal(stopped, true);
});

test('stop of an empty pool resolves at once', async () => {
  const bench = new Bench();
  await bench.pool.stop(1000);
});
