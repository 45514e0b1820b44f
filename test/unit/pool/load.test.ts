/** Growing and shrinking by the load of event loops: the decision alone, under simulated load, and in the pool. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideLoad, LoopLoad, NO_MEMORY, type LoadFacts, type LoadMemory } from '../../../core/pool/load.js';
import { appConfig, Bench, type FakeRequest } from './pool-fixture.js';

function facts(some: Partial<LoadFacts>): LoadFacts {
  return {
    now: 100_000,
    loops: [1],
    sessions: 10,
    concurrency: 0,
    moving: false,
    youngestMs: 60_000,
    minInstances: 1,
    maxInstances: 0,
    cores: 4,
    idleMs: 300_000,
    ...some,
  };
}

const once: LoadMemory = { high: 1, lowSince: undefined };
const low: LoadMemory = { high: 0, lowSince: 0 };

const decisions: [rule: string, memory: LoadMemory, some: Partial<LoadFacts>, move: string][] = [
  ['one look at full loops is not enough', NO_MEMORY, {}, 'stay'],
  ['two looks at full loops are', once, {}, 'grow'],
  ['the mean of the loops counts', once, { loops: [1, 0.5] }, 'stay'],
  ['with no more requests than processes another one does not help', once, { sessions: 1 }, 'stay'],
  ['not beyond MaxInstances', once, { maxInstances: 1 }, 'stay'],
  ['not beyond the cores of the machine', once, { loops: [1, 1], cores: 2 }, 'stay'],
  ['not before the youngest process has got its share', once, { youngestMs: 6000 }, 'stay'],
  ['not while processes are started or replaced', once, { moving: true }, 'stay'],
  ['not where processes do not report', once, { loops: [1, undefined] }, 'stay'],
  [
    'one fewer when that was enough for long',
    low,
    { now: 300_000, loops: [0.2, 0.2], sessions: 0 },
    'shrink',
  ],
  ['not earlier', low, { now: 299_000, loops: [0.2, 0.2] }, 'stay'],
  ['not when the rest would be more than half full', low, { now: 300_000, loops: [0.3, 0.3] }, 'stay'],
  ['not below the minimum', low, { now: 300_000, loops: [0, 0], minInstances: 2 }, 'stay'],
  [
    'not when the rest could not hold the sessions',
    low,
    { now: 300_000, loops: [0, 0], sessions: 3, concurrency: 2 },
    'stay',
  ],
  ['never with PoolIdleTime 0', low, { now: 1e12, loops: [0, 0], idleMs: Infinity }, 'stay'],
];

for (const [rule, memory, some, move] of decisions) {
  test(`load: ${rule}`, () => assert.equal(decideLoad(memory, facts(some)).move, move));
}

test('a loop that is to report and does not is full after the same silence as others', () => {
  const loop = new LoopLoad();
  loop.expect(1000);
  assert.equal(loop.at(8000, 0), undefined, 'its first report may be on the way');
  assert.equal(loop.at(8001, 0), 1);
  assert.equal(loop.at(8001, 5000), undefined, 'nobody was listening before');
  loop.note(0.5, 9000);
  assert.equal(loop.at(9000, 0), 0.5, 'the silence is forgotten');
});

test('a process that reports, but not its loop, is unknown for ever', () => {
  const loop = new LoopLoad();
  loop.expect(1000);
  loop.note(undefined, 3000);
  assert.equal(loop.at(60_000, 0), undefined);
});

test('a loop that has reported and falls silent is full; one of which nothing is expected is unknown', () => {
  const loop = new LoopLoad();
  assert.equal(loop.at(0, 0), undefined);
  loop.note(0.5, 1000);
  loop.note(undefined, 1500);
  assert.equal(loop.at(8000, 0), 0.5);
  assert.equal(loop.at(8001, 0), 1);
  assert.equal(loop.at(8001, 5000), 0.5, 'nobody was listening before');
  loop.note(1, 9000);
  assert.equal(loop.at(9000, 0), 0.75, 'the newest report counts one half');
});

/**
 * Work for an app, in event loops that it fills; a process does what it can, and evenly among all. Returns the number
 * of processes every two seconds.
 */
function underLoad(work: (second: number) => number, seconds: number, start = 1): number[] {
  let loops = Array.from({ length: start }, () => ({ loop: new LoopLoad(), since: -60_000 }));
  let memory = NO_MEMORY;
  const counts: number[] = [];
  for (let second = 0; second <= seconds; second += 2) {
    const now = second * 1000;
    const wanted = work(second);
    for (const { loop } of loops) loop.note(Math.min(1, wanted / loops.length), now);
    const decision = decideLoad(
      memory,
      facts({
        now,
        loops: loops.map(({ loop }) => loop.at(now, 0)),
        sessions: Math.ceil(wanted * 4),
        youngestMs: Math.min(...loops.map(({ since }) => now - since)),
        cores: 8,
      }),
    );
    memory = decision.memory;
    if (decision.move === 'grow') loops = [...loops, { loop: new LoopLoad(), since: now }];
    if (decision.move === 'shrink') loops = loops.slice(1);
    counts.push(loops.length);
  }
  return counts;
}

const changes = (counts: readonly number[]): number =>
  counts.filter((count, index) => index > 0 && count !== counts[index - 1]).length;

for (const work of [0.3, 0.9, 1.5, 2.3, 3.7, 5, 7.9, 20]) {
  test(`under the constant load of ${work} loops the number of processes settles and stays`, () => {
    const counts = underLoad(() => work, 7200);
    const end = counts.at(-1) ?? 0;
    assert.equal(changes(counts), end - 1, 'it only grew');
    assert.equal(changes(counts.slice(60)), 0, 'and within two minutes');
    assert.ok(end === 8 || work / end < 0.8, `${end} processes are enough`);
    assert.ok(end === 1 || work / (end - 1) >= 0.8, `${end} processes are not too many`);
  });
}

test('a step up is followed one by one, with time between the steps; a step down after PoolIdleTime', () => {
  const counts = underLoad((second) => (second < 600 ? 0.2 : second < 1800 ? 3.7 : 0.2), 7200);
  assert.equal(changes(counts.slice(0, 300)), 0);
  assert.equal(counts[890], 5);
  const grown = counts.flatMap((count, index) => (count > (counts[index - 1] ?? 1) ? [index * 2] : []));
  for (const [index, second] of grown.entries()) {
    assert.ok(index === 0 || second - (grown[index - 1] ?? 0) >= 8, `grown at ${grown.join()}`);
  }
  assert.equal(counts[1040], 5, 'kept for five minutes');
  assert.equal(counts[1060], 4);
  assert.equal(counts.at(-1), 1);
  assert.equal(changes(counts), 8, 'up four times and down four times');
});

for (const period of [8, 30, 120, 400]) {
  test(`a sawtooth of ${period} s does not make processes come and go`, () => {
    const counts = underLoad((second) => ((second % period) / period) * 4, 14_400);
    assert.equal(changes(counts.slice(900)), 0, counts.join());
  });
}

test('a load that switches between much and little costs one start for each change at most', () => {
  const counts = underLoad((second) => (second % 1200 < 600 ? 1.7 : 0.1), 12_000);
  assert.ok(changes(counts) <= 2 * 2 * 10, `${changes(counts)} changes`);
});

// --- in the pool

async function busy(bench: Bench, seconds: number, elu: (pid: number) => number | undefined): Promise<void> {
  for (let second = 0; second < seconds; second += 2) {
    await bench.advance(2000, 500);
    for (const process of bench.spawner.alive) {
      const value = elu(process.pid);
      if (value !== undefined) process.report({ elu: value });
    }
  }
}

const requests = (bench: Bench, count: number): FakeRequest[] =>
  Array.from({ length: count }, () => bench.request(appConfig('shop')));

test('an app with full event loops gets processes one by one, up to the cores', async () => {
  const bench = new Bench({ maxPoolSize: '6' }, { cores: 3 });
  requests(bench, 20);
  await busy(bench, 10, () => 1);
  assert.equal(bench.spawner.alive.length, 1, 'the first one gets its time');
  await busy(bench, 10, () => 1);
  assert.equal(bench.spawner.alive.length, 2);
  await busy(bench, 60, () => 1);
  assert.equal(bench.spawner.alive.length, 3);
});

test('a process whose loop is blocked reports nothing, and counts as full', async () => {
  const bench = new Bench({}, { cores: 3 });
  requests(bench, 5);
  await busy(bench, 10, () => 0.1);
  await busy(bench, 20, () => undefined);
  assert.equal(bench.spawner.alive.length, 2);
});

test('a process that is blocked before its first report is full, too, and one without a loader is not', async () => {
  for (const [reports, processes] of [
    [true, 2],
    [false, 1],
  ] as const) {
    const bench = new Bench({}, { cores: 3 });
    bench.spawner.knobs.reports = reports;
    requests(bench, 5);
    await bench.advance(8000);
    assert.equal(bench.spawner.alive.length, 1, 'not at once');
    await bench.advance(6000);
    assert.equal(bench.spawner.alive.length, processes);
  }
});

test('a core that was stopped itself does not take the silence for load', async () => {
  const bench = new Bench({}, { cores: 3 });
  requests(bench, 5);
  await busy(bench, 10, () => 0.1);
  bench.clock.stall(60_000);
  await busy(bench, 6, () => 0.1);
  assert.equal(bench.spawner.alive.length, 1);
});

test('full loops do not go beyond MaxPoolSize, and take no place from others', async () => {
  const bench = new Bench({ maxPoolSize: '2' }, { cores: 8 });
  (await bench.served(appConfig('other', { minInstances: '0' }))).close();
  requests(bench, 20);
  await busy(bench, 60, () => 1);
  assert.equal(bench.spawner.alive.length, 2);
  assert.equal(bench.pool.snapshot().starvingGroups, 0);
});

test('low traffic spread over all processes does not keep them: the surplus goes after PoolIdleTime', async () => {
  const bench = new Bench({ poolIdleTime: '60' }, { cores: 3 });
  const held = requests(bench, 20);
  await busy(bench, 60, () => 1);
  assert.equal(bench.spawner.alive.length, 3);
  for (const request of held) request.close();
  for (let second = 0; second < 150; second += 2) {
    const both = requests(bench, 3);
    await busy(bench, 2, () => 0.05);
    for (const request of both) request.close();
  }
  assert.equal(bench.spawner.alive.length, 1);
});

test('without processes nothing looks at their load', async () => {
  const bench = new Bench({ poolIdleTime: '10' });
  (await bench.served(appConfig('shop', { minInstances: '0' }))).close();
  await bench.advance(40_000);
  assert.equal(bench.spawner.alive.length, 0);
  assert.equal(bench.clock.pending, 0);
});
