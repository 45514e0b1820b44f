/** Limits of memory: what counts, what follows, and how often anybody looks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeMemory, nextLookMs, type MemoryLimits } from '../../../core/pool/memory-rules.js';
import { appConfig, Bench, serverSettings } from './pool-fixture.js';

const MB = 2 ** 20;
const HARD: MemoryLimits = { softBytes: Infinity, hardBytes: 1000 * MB };
const SOFT: MemoryLimits = { softBytes: 1000 * MB, hardBytes: Infinity };

/** After ten seconds, with this much memory. */
const look = (megabytes: number, at = 10_000): { bytes: number; at: number } => ({
  bytes: megabytes * MB,
  at,
});

test('a limit is what a process may have: only more than that is too much', () => {
  const limits = { softBytes: 100 * MB, hardBytes: 200 * MB };
  const verdicts = [100, 100.1, 200, 200.1].map((megabytes) => judgeMemory(megabytes * MB, limits));
  assert.deepEqual(verdicts, ['fine', 'worn', 'worn', 'over']);
});

test('a hard limit below the soft one wins', () => {
  assert.equal(judgeMemory(60 * MB, { softBytes: 100 * MB, hardBytes: 50 * MB }), 'over');
});

test('the nearer to the hard limit, the sooner the next look, from 2 s to 0.1 s', () => {
  const delays = [10, 500, 900, 990, 2000].map((megabytes) => nextLookMs(look(megabytes), undefined, HARD));
  assert.deepEqual(delays, [1980, 1000, 200, 100, 100]);
});

test('fast growth brings the next look forward, before half of the way to the limit is gone', () => {
  // 1000 MB in a second: 500 MB are left, for half a second.
  assert.equal(nextLookMs(look(500), look(0, 9500), HARD), 250);
  assert.equal(nextLookMs(look(500), look(600, 9500), HARD), 1000, 'who shrinks is not watched less');
});

test('a soft limit alone is looked at each 1 to 5 s', () => {
  const delays = [10, 850, 999].map((megabytes) => nextLookMs(look(megabytes), undefined, SOFT));
  assert.deepEqual(delays, [5000, 3000, 1000]);
});

test('without a limit nobody looks, and no timer runs', async () => {
  const bench = new Bench();
  await bench.served(appConfig());
  const before = bench.clock.pending;
  await bench.advance(20_000);
  assert.equal(bench.memory.looks.length, 0);
  assert.equal(bench.clock.pending, before);
});

test('the timer runs only while there are processes', async () => {
  const bench = new Bench({ poolIdleTime: '0' });
  const config = appConfig('shop', { hardMemoryLimit: '500', minInstances: '0' });
  (await bench.served(config)).close();
  await bench.advance(10_000);
  assert.ok(bench.memory.looks.length > 5);
  bench.spawner.alive[0]?.exit();
  await bench.advance(2000);
  const looks = bench.memory.looks.length;
  const pending = bench.clock.pending;
  await bench.advance(20_000);
  assert.equal(bench.memory.looks.length, looks);
  assert.ok(bench.clock.pending <= pending);
});

test('a process above the hard limit gets SIGKILL at once, with its group, and another takes its place', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { hardMemoryLimit: '500' });
  await bench.served(config);
  bench.memory.megabytes.set(1000, 501);
  await bench.advance(2000, 100);
  assert.deepEqual(bench.spawner.processes[0]?.told, ['SIGKILL group']);
  assert.equal(bench.logged('PSG5030'), 1, 'said once');
  assert.match(bench.lines.find((line) => line.includes('PSG5030')) ?? '', /memoryMB=501 limitMB=500/);
  assert.equal((await bench.served(config)).pid, 1001);
});

test('a process above the soft limit is replaced without loss: it serves until its substitute is ready', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { memoryLimit: '500', hardMemoryLimit: '900' });
  const old = await bench.served(config);
  bench.memory.megabytes.set(1000, 501);
  bench.spawner.knobs.delayMs = 3000;
  await bench.advance(3000, 100);
  assert.equal((await bench.served(config)).pid, 1000, 'it serves while the other one starts');
  assert.equal(bench.logged('app process is replaced'), 1, 'said once');
  await bench.advance(5000, 100);
  assert.equal((await bench.served(config)).pid, 1001);
  assert.deepEqual(bench.spawner.processes[0]?.told, [], 'its requests go on');
  old.close();
  await bench.advance(100);
  assert.equal(bench.logged('PSG5'), 0, 'no failure');
});

test('an app that takes more than its soft limit from the start is replaced after growing pauses, and serves', async () => {
  const bench = new Bench();
  bench.memory.usual = 150;
  const config = appConfig('shop', { memoryLimit: '100' });
  (await bench.served(config)).close();
  await bench.advance(61_000, 100);
  const firstMinute = bench.spawner.attempts.length - 1;
  assert.ok(firstMinute >= 6 && firstMinute <= 9, `${firstMinute} replacements`);
  await bench.advance(600_000, 1000);
  const replaced = bench.spawner.attempts.length - 1 - firstMinute;
  assert.ok(replaced >= 18 && replaced <= 21, `${replaced} in ten minutes`);
  assert.equal(bench.spawner.alive.length, 1);
  assert.ok(bench.logged('PSG5033') > 0 && bench.logged('PSG5033') <= firstMinute + replaced);
  assert.match(bench.lines.find((line) => line.includes('PSG5033')) ?? '', /memoryMB=150 limitMB=100/);
  (await bench.served(config)).close();
});

test('leaking beyond the hard limit again and again is a crash loop with its reason', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { hardMemoryLimit: '500' });
  bench.memory.usual = 600;
  bench.request(config);
  await bench.advance(900, 50);
  const request = bench.request(config);
  await bench.settle();
  assert.equal(request.failure?.code, 'PSG5006');
  assert.match(String(request.failure.details['end']), /more memory than PassengerHardMemoryLimit/);
  const group = bench.pool.snapshot().groups[0];
  assert.equal(group?.failure, 'PSG5006');
  assert.equal(group.failureDetails?.['crashes'], 3);
  assert.equal(bench.logged('PSG5030'), 3, 'once for each process');
});

test('a start that takes too much memory fails with that reason', async () => {
  const bench = new Bench();
  bench.spawner.knobs.delayMs = undefined;
  const request = bench.request(appConfig('shop', { hardMemoryLimit: '500' }));
  await bench.advance(1000, 100);
  assert.equal(bench.memory.looks.length, 0, 'there is no process to look at yet');
  const attempt = bench.spawner.attempts[0];
  assert(attempt !== undefined);
  attempt.pid = 77;
  bench.memory.megabytes.set(77, 700);
  await bench.advance(1000, 100);
  assert.equal(request.failure?.code, 'PSG5030');
  assert.equal(bench.logged('PSG5003'), 1);
});

test('a process that drains is held to the hard limit, and is no crash', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { hardMemoryLimit: '500' });
  await bench.served(config);
  bench.pool.restart(config.groupKey, 'test');
  bench.memory.megabytes.set(1000, 501);
  await bench.advance(2000, 100);
  assert.deepEqual(bench.spawner.processes[0]?.told, ['SIGKILL group']);
  assert.equal(bench.pool.snapshot().groups[0]?.failure, undefined);
});

test('a limit that comes with a reload holds for what runs', async () => {
  const bench = new Bench();
  await bench.served(appConfig());
  bench.memory.usual = 300;
  bench.pool.reload(serverSettings(), 2);
  bench.request(appConfig('shop', { hardMemoryLimit: '200', redeployOnReload: 'off' }), { generation: 2 });
  await bench.advance(1000, 100);
  assert.ok(bench.logged('PSG5030') >= 1);
});

test('what cannot be measured is left alone and looked at again', async () => {
  const bench = new Bench();
  await bench.served(appConfig('shop', { hardMemoryLimit: '10' }));
  bench.memory.blind = true;
  await bench.advance(5000, 100);
  assert.deepEqual(bench.spawner.processes[0]?.told, []);
  assert.ok(bench.memory.looks.length >= 5);
  bench.memory.blind = false;
  await bench.advance(600, 100);
  assert.deepEqual(bench.spawner.processes[0]?.told, ['SIGKILL group']);
});

test('each process is looked at when it is due, not whenever another one is', async () => {
  const bench = new Bench();
  await bench.served(appConfig('calm', { hardMemoryLimit: '1000' }));
  await bench.served(appConfig('wild', { hardMemoryLimit: '1000' }));
  bench.memory.megabytes.set(1001, 990);
  await bench.advance(10_000, 50);
  const looksAt = (pid: number): number => bench.memory.looks.filter((pids) => pids.includes(pid)).length;
  assert.ok(looksAt(1001) > 80, `${looksAt(1001)} looks at the one near its limit`);
  assert.ok(looksAt(1000) < 10, `${looksAt(1000)} looks at the other`);
});

test('the snapshot says what was measured', async () => {
  const bench = new Bench();
  await bench.served(appConfig('shop', { hardMemoryLimit: '500' }));
  await bench.served(appConfig('free'));
  await bench.advance(1000, 100);
  const memory = bench.pool.snapshot().groups.map(({ processes }) => processes[0]?.memory);
  assert.deepEqual(memory, [50 * MB, undefined]);
});
