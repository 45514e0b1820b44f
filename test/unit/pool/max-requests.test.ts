/** PassengerMaxRequests: a process that has finished so many requests is replaced, and nobody notices. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AppConfig } from '../../../core/config/app-config.js';
import { appConfig, Bench } from './pool-fixture.js';

const alive = (bench: Bench): number[] => bench.spawner.alive.map((process) => process.pid);
const processed = (bench: Bench): Map<number, number> => {
  const counts = new Map<number, number>();
  for (const group of bench.pool.snapshot().groups) {
    for (const { pid, processed: count } of group.processes) counts.set(pid ?? 0, count);
  }
  return counts;
};

async function requests(bench: Bench, app: AppConfig, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) (await bench.served(app)).close();
}

test('a process is replaced when it has finished MaxRequests, and serves until the next one is ready', async () => {
  const app = appConfig('shop', { maxRequests: '5' });
  const bench = new Bench();
  await requests(bench, app, 4);
  assert.equal(bench.spawner.attempts.length, 1);
  bench.spawner.knobs.delayMs = 1000;
  await requests(bench, app, 1);
  assert.equal(bench.spawner.attempts.length, 2, 'ahead of time');
  assert.equal((await bench.served(app)).pid, 1000, 'nobody waits');
  await bench.advance(1000);
  assert.equal((await bench.served(app)).pid, 1001);
  assert.equal(bench.logged('PassengerMaxRequests'), 2, 'a notice, and the state of the deployment');
});

test('it counts when a request ends, as Passenger does', async () => {
  const app = appConfig('shop', { maxRequests: '2' });
  const bench = new Bench();
  const open = [await bench.served(app), await bench.served(app), await bench.served(app)];
  open[0]?.close();
  await bench.settle();
  assert.equal(bench.spawner.attempts.length, 1);
  open[1]?.close();
  await bench.settle();
  assert.equal(bench.spawner.attempts.length, 2);
  assert.deepEqual(alive(bench), [1000, 1001], 'the third request finishes on the old process');
});

test('a process takes at most twice MaxRequests, then requests wait for its substitute', async () => {
  const app = appConfig('shop', {
    maxRequests: '10',
    maxInstances: '1',
    forceMaxConcurrentRequestsPerProcess: '1',
  });
  const bench = new Bench();
  await requests(bench, app, 1);
  bench.spawner.knobs.delayMs = 1000;
  await requests(bench, app, 19);
  const waiting = bench.request(app);
  assert.equal(waiting.state, 'waiting');
  await bench.advance(1000);
  assert.equal(waiting.pid, 1001);
  assert.equal(bench.spawner.attempts.length, 2, 'one substitute, not one more for the minimum');
});

test('a process whose substitute cannot be started goes on serving, however many requests it gets', async () => {
  const app = appConfig('shop', { maxRequests: '3' });
  const bench = new Bench();
  await requests(bench, app, 1);
  bench.spawner.knobs.failAt = 'loading';
  await requests(bench, app, 30);
  await bench.advance(10_000);
  await requests(bench, app, 30);
  assert.deepEqual(alive(bench), [1000]);
  bench.spawner.knobs.failAt = undefined;
  await bench.advance(31_000);
  assert.deepEqual(alive(bench), [1001]);
});

test('three processes under load are replaced again and again; never fewer serve, and no request waits', async () => {
  const app = appConfig('shop', { minInstances: '3', maxRequests: '20' });
  const bench = new Bench();
  await requests(bench, app, 1);
  await bench.advance(100);
  bench.spawner.knobs.delayMs = 300;
  const most = new Map<number, number>();
  for (let turn = 0; turn < 400; turn += 1) {
    const request = bench.request(app);
    // Once in 10 s it waits for a look at restart.txt.
    await bench.settle();
    assert.equal(request.state, 'serving');
    await bench.advance(50);
    request.close();
    await bench.settle();
    assert(bench.group(app).serving.length >= 3);
    for (const [pid, count] of processed(bench)) most.set(pid, count);
  }
  most.delete(0);
  assert(bench.spawner.attempts.length >= 15, `${bench.spawner.attempts.length} starts`);
  assert(Math.max(...most.values()) <= 30, `${JSON.stringify([...most])}`);
});

test('0 is never', async () => {
  const app = appConfig();
  const bench = new Bench();
  await requests(bench, app, 1000);
  assert.deepEqual(alive(bench), [1000]);
});
