/** Replacing processes while they serve: one for one, never fewer than before, in whatever state the pool is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AppConfig } from '../../../core/config/app-config.js';
import { DEPLOYMENT_TRANSITIONS, PROOF_MS } from '../../../core/pool/deployment.js';
import { appConfig, Bench, serverSettings, type FakeRequest } from './pool-fixture.js';

const SHOP = appConfig('shop', { minInstances: '3' });
const alive = (bench: Bench): number[] => bench.spawner.alive.map((process) => process.pid);
const serving = (bench: Bench, app = SHOP): number => bench.group(app).serving.length;

/** A warm app with its minimum of processes. */
async function warm(server: ConstructorParameters<typeof Bench>[0] = {}, app = SHOP): Promise<Bench> {
  const bench = new Bench(server);
  (await bench.served(app)).close();
  await bench.advance(100);
  return bench;
}

/** The app's process with this pid is to be replaced. */
function wear(bench: Bench, pid: number, app: AppConfig = SHOP): void {
  const group = bench.group(app);
  const process = group.serving.find((candidate) => candidate.pid === pid);
  assert(process !== undefined, `${pid} serves`);
  group.replace(process, 'test');
}

test('the states of a deployment and their moves', () => {
  assert.deepEqual(DEPLOYMENT_TRANSITIONS, {
    settled: ['trial', 'replacing'],
    trial: ['replacing', 'resisting', 'settled'],
    replacing: ['trial', 'settled'],
    resisting: ['trial', 'settled'],
  });
});

test('a reload replaces three processes one by one, and never fewer than three serve', async () => {
  const bench = await warm();
  bench.spawner.knobs.delayMs = 1000;
  bench.pool.reload(serverSettings(), 2);
  const seen: string[] = [];
  for (let tenth = 0; tenth < 60; tenth += 1) {
    bench.request(SHOP, { generation: 2 }).close();
    await bench.advance(100);
    assert(serving(bench) >= 3, `${serving(bench)} serve`);
    assert(alive(bench).length <= 4);
    const { deployment } = bench.group(SHOP);
    if (seen.at(-1) !== deployment) seen.push(deployment);
  }
  assert.deepEqual(alive(bench), [1003, 1004, 1005]);
  assert.deepEqual(seen, ['trial', 'replacing', 'settled']);
});

test('a worn process serves until its substitute is ready, then it finishes its requests', async () => {
  const bench = await warm();
  bench.spawner.knobs.delayMs = 1000;
  const requests = [1, 2, 3].map(() => bench.request(SHOP));
  wear(bench, 1000);
  await bench.settle();
  assert.equal(bench.spawner.attempts.length, 4);
  const next = [1, 2, 3].map(() => bench.request(SHOP).pid);
  assert(next.includes(1000), 'it serves');
  await bench.advance(1000);
  assert.equal(serving(bench), 3);
  assert(!bench.group(SHOP).serving.some(({ pid }) => pid === 1000), 'it takes nothing new');
  assert.deepEqual(bench.spawner.processes[0]?.told, [], 'it finishes');
  assert.equal(requests.length, 3);
});

test('a process that is marked twice, or that is leaving, is replaced once', async () => {
  const bench = await warm();
  bench.spawner.knobs.delayMs = 1000;
  wear(bench, 1000);
  wear(bench, 1000);
  const [process] = bench.group(SHOP).serving;
  await bench.advance(1000);
  assert.equal(process?.pid, 1000);
  if (process !== undefined) bench.group(SHOP).replace(process, 'test');
  await bench.advance(5000);
  assert.deepEqual(alive(bench), [1001, 1002, 1003]);
});

test('of worn processes the one with the oldest code goes first, then the least busy', async () => {
  const bench = await warm();
  bench.spawner.knobs.delayMs = undefined;
  const held = [1, 2, 3, 4, 5].map(() => bench.request(SHOP));
  const busy = (pid: number): number => held.filter((request) => request.pid === pid).length;
  bench.pool.reload(serverSettings(), 2);
  const fresh = bench.request(SHOP, { generation: 2 });
  fresh.close();
  const quiet = [1000, 1001, 1002].find((pid) => busy(pid) === 1);
  bench.spawner.finish();
  await bench.advance(PROOF_MS);
  assert(!bench.group(SHOP).serving.some(({ pid }) => pid === quiet), 'the least busy one drains');
  wear(bench, 1003);
  bench.spawner.finish();
  await bench.settle();
  assert(
    bench.group(SHOP).serving.some(({ pid }) => pid === 1003),
    'old code goes first',
  );
});

test('a full pool is no obstacle, and is full afterwards', async () => {
  const bench = await warm({ maxPoolSize: '3' });
  const other = appConfig('other', { minInstances: '0' });
  bench.spawner.knobs.delayMs = 500;
  for (const pid of alive(bench)) wear(bench, pid);
  const waiting = bench.request(other);
  await bench.advance(5000);
  assert.equal(waiting.state, 'serving', 'nobody starves for it');
  assert(bench.pool.capacityUsed <= 3);
  assert(alive(bench).every((pid) => pid > 1002));
});

test('while its code cannot be started, what is worn goes on serving, and is replaced after the pause', async () => {
  const bench = await warm();
  bench.spawner.knobs.failAt = 'loading';
  wear(bench, 1000);
  await bench.advance(20_000);
  assert.deepEqual(alive(bench), [1000, 1001, 1002]);
  assert(bench.logged('PSG5003') >= 3);
  bench.spawner.knobs.failAt = undefined;
  await bench.advance(31_000);
  assert.deepEqual(alive(bench), [1001, 1002, 1003]);
});

test('a worn process that dies is replaced by its substitute alone', async () => {
  const bench = await warm();
  bench.spawner.knobs.delayMs = 1000;
  wear(bench, 1000);
  bench.spawner.processes[0]?.exit();
  await bench.advance(5000);
  assert.deepEqual(alive(bench), [1001, 1002, 1003]);
});

test('a process that dies while others are replaced is replaced beside them', async () => {
  const bench = await warm();
  bench.spawner.knobs.delayMs = 1000;
  wear(bench, 1000);
  bench.spawner.processes[1]?.exit();
  await bench.advance(2000);
  assert.deepEqual(alive(bench), [1002, 1003, 1004]);
});

test('old processes do not leave for being idle while nobody knows whether the new code works', async () => {
  const app = appConfig('shop', { minInstances: '0' });
  const bench = await warm({ poolIdleTime: '10' }, app);
  bench.spawner.knobs.failAt = 'loading';
  bench.pool.reload(serverSettings({ poolIdleTime: '10' }), 2);
  bench.request(app, { generation: 2 }).close();
  await bench.advance(8000);
  const request: FakeRequest = bench.request(app, { generation: 2 });
  request.close();
  await bench.advance(30_000);
  assert.deepEqual(alive(bench), [1000]);
});

test('many apps whose processes are worn start four substitutes at a time', async () => {
  const bench = new Bench({ maxPoolSize: '50' });
  const apps = Array.from({ length: 7 }, (_, n) => appConfig(`app${n}`));
  for (const app of apps) (await bench.served(app)).close();
  bench.spawner.knobs.delayMs = undefined;
  apps.forEach((app, n) => wear(bench, 1000 + n, app));
  assert.equal(bench.spawner.pending.length, 4);
  for (let n = 0; n < 7; n += 1) {
    bench.spawner.finish();
    await bench.settle();
  }
  assert.equal(bench.spawner.attempts.length, 14);
  assert.equal(alive(bench).length, 7);
});
