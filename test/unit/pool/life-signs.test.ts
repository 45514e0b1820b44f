/** Requests that run out of time, and processes that do not answer any more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { overdueAction, type OverdueLimit } from '../../../core/pool/life-signs.js';
import { appConfig, Bench, type FakeRequest } from './pool-fixture.js';

function overdue(bench: Bench, request: FakeRequest, limit: OverdueLimit): void {
  assert(request.session !== undefined);
  bench.pool.reportOverdue(request.session, limit);
  request.close();
}

test('a Node app is asked for life signs, another program is judged by PassengerMaxRequestTime alone', () => {
  for (const others of [0, 3]) {
    assert.equal(overdueAction('time', { reports: true, others }), 'watch');
    assert.equal(overdueAction('silence', { reports: true, others }), 'watch');
    assert.equal(overdueAction('silence', { reports: false, others }), 'nothing');
  }
  assert.equal(overdueAction('time', { reports: false, others: 0 }), 'kill');
  assert.equal(overdueAction('time', { reports: false, others: 3 }), 'drain');
});

test('a process that reports goes on after a request that took too long', async () => {
  const bench = new Bench();
  overdue(bench, await bench.served(appConfig()), 'time');
  await bench.advance(1500);
  bench.spawner.processes[0]?.report({ elu: 0.1 });
  await bench.advance(20_000);
  assert.deepEqual(bench.spawner.processes[0]?.told, []);
});

for (const limit of ['silence', 'time'] as const) {
  test(`a process that reports no more is killed five seconds after its last report (${limit})`, async () => {
    const bench = new Bench();
    const request = await bench.served(appConfig());
    await bench.advance(2000);
    bench.spawner.processes[0]?.report({ elu: 0.1 });
    await bench.advance(2000);
    overdue(bench, request, limit);
    await bench.advance(2900, 100);
    assert.deepEqual(bench.spawner.processes[0]?.told, []);
    await bench.advance(200, 100);
    assert.deepEqual(bench.spawner.processes[0]?.told, ['SIGKILL group']);
    assert.equal(bench.logged('PSG5031'), 1);
    assert.equal((await bench.served(appConfig())).pid, 1001, 'another one serves');
  });
}

test('reports that we have not read yet are heard before a process is judged', async () => {
  const bench = new Bench();
  const request = await bench.served(appConfig());
  // We stood still for a long time; what the app said meanwhile arrives after the gateway has looked at its clock.
  bench.clock.advance(60_000);
  overdue(bench, request, 'silence');
  await bench.advance(500);
  bench.spawner.processes[0]?.report({ elu: 0.1 });
  await bench.advance(10_000);
  assert.deepEqual(bench.spawner.processes[0]?.told, []);
});

test('many requests of a frozen process make one end of it', async () => {
  const bench = new Bench();
  const requests = await Promise.all(Array.from({ length: 20 }, () => bench.served(appConfig())));
  await bench.advance(10_000);
  for (const request of requests) overdue(bench, request, 'silence');
  await bench.advance(5000);
  assert.deepEqual(bench.spawner.processes[0]?.told, ['SIGKILL group']);
  assert.equal(bench.logged('PSG5031'), 1);
  assert.equal(bench.spawner.alive.length, 1);
});

test('a suspect that dies or is restarted is not judged any more', async () => {
  const bench = new Bench();
  const config = appConfig();
  overdue(bench, await bench.served(config), 'time');
  bench.spawner.processes[0]?.exit();
  await bench.settle();
  overdue(bench, await bench.served(config), 'time');
  bench.pool.restart(config.groupKey, 'test');
  await bench.advance(10_000);
  assert.equal(bench.logged('PSG5031'), 0);
});

test('a program without a loader is killed when its only request exceeds PassengerMaxRequestTime, and is no crash', async () => {
  const bench = new Bench();
  for (let turn = 0; turn < 5; turn += 1) {
    const request = await bench.served(appConfig());
    const process = bench.spawner.processes.at(-1);
    assert(process !== undefined);
    process.reports = false;
    overdue(bench, request, 'time');
    await bench.settle();
    assert.deepEqual(process.told, ['SIGKILL group']);
  }
  assert.equal(bench.logged('PSG5032'), 5);
  assert.equal(bench.logged('PSG5006'), 0);
});

test('a program without a loader that works on other requests finishes them and is replaced', async () => {
  const bench = new Bench();
  const [slow, other] = [await bench.served(appConfig()), await bench.served(appConfig())];
  const process = bench.spawner.processes[0];
  assert(process !== undefined);
  process.reports = false;
  overdue(bench, slow, 'time');
  await bench.settle();
  assert.deepEqual(process.told, []);
  assert.equal((await bench.served(appConfig())).pid, 1001);
  other.close();
  assert.deepEqual(process.told, ['shutdown']);
});

test('the snapshot says how long a process has been silent', async () => {
  const bench = new Bench();
  await bench.served(appConfig());
  bench.spawner.processes[0]?.report({ elu: 0.1 });
  await bench.advance(7000);
  assert.equal(bench.pool.snapshot().groups[0]?.processes[0]?.silentMs, 7000);
});

test('a process that has not reported for five seconds gets no requests while others do, until it reports again', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { minInstances: '2' });
  (await bench.served(config)).close();
  await bench.advance(100);
  const [frozen, well] = bench.spawner.processes;
  const pids = async (): Promise<Set<number | undefined>> => {
    const requests = [await bench.served(config), await bench.served(config), await bench.served(config)];
    for (const request of requests) request.close();
    return new Set(requests.map(({ pid }) => pid));
  };
  for (let turn = 0; turn < 4; turn += 1) {
    await bench.advance(2000);
    well?.report({ elu: 0.1 });
  }
  assert.deepEqual(await pids(), new Set([well?.pid]));
  frozen?.report({ elu: 1 });
  assert.deepEqual(await pids(), new Set([well?.pid, frozen?.pid]));
  await bench.advance(20_000);
  assert.equal((await pids()).size, 2, 'where all are silent, all serve');
});
