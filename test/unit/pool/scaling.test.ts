/** How many processes to start and which may go: pure decisions. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '../../../core/pool/backoff.js';
import { busyLeavers, decideGrowth, surplusLeavers, type GroupLoad } from '../../../core/pool/scaling.js';

function load(facts: Partial<GroupLoad>): GroupLoad {
  return {
    minInstances: 1,
    maxInstances: 0,
    ready: 0,
    worn: 0,
    starting: 0,
    ahead: 0,
    substitutes: 0,
    unproven: false,
    waiting: 0,
    concurrency: 0,
    allBusy: false,
    saturated: false,
    paused: false,
    ...facts,
  };
}

const growth: [
  rule: string,
  facts: Partial<GroupLoad>,
  room: number,
  start: number,
  short: number,
  starving: boolean,
][] = [
  ['a group gets its first process', {}, 6, 1, 0, false],
  ['only one at a time until one is ready', { minInstances: 5 }, 6, 1, 0, false],
  ['and none while that one starts', { minInstances: 5, starting: 1, waiting: 9 }, 6, 0, 0, false],
  ['two at a time afterwards', { minInstances: 5, ready: 1 }, 6, 2, 0, false],
  ['up to the minimum', { minInstances: 2, ready: 1, starting: 1 }, 6, 0, 0, false],
  ['no more than there is room', { minInstances: 5, ready: 1 }, 1, 1, 1, false],
  ['a missing minimum is no reason to starve', { minInstances: 1 }, 0, 0, 1, false],
  ['requests and nothing else: starving', { waiting: 1 }, 0, 0, 1, true],
  ['requests beside a start do not starve', { waiting: 1, starting: 1 }, 0, 0, 0, false],
  ['requests beside a busy process do not starve', { ready: 1, waiting: 3, concurrency: 1 }, 0, 0, 2, false],
  ['unlimited processes are one for all', { minInstances: 0, waiting: 50 }, 6, 1, 0, false],
  ['as many as the waiting need', { minInstances: 0, ready: 1, waiting: 3, concurrency: 2 }, 6, 2, 0, false],
  ['one ahead when all are busy', { ready: 1, allBusy: true, concurrency: 1 }, 6, 1, 0, false],
  ['one more when the event loops are full', { ready: 1, saturated: true }, 6, 1, 0, false],
  ['full loops are no reason to starve', { ready: 1, saturated: true }, 0, 0, 1, false],
  ['MaxInstances wins over full loops', { ready: 2, saturated: true, maxInstances: 2 }, 6, 0, 0, false],
  ['but only one', { ready: 1, starting: 1, allBusy: true, concurrency: 1 }, 6, 0, 0, false],
  [
    'MaxInstances wins over waiting',
    { ready: 2, maxInstances: 2, waiting: 9, concurrency: 1 },
    6,
    0,
    0,
    false,
  ],
  ['MaxInstances wins over the minimum', { ready: 2, maxInstances: 2, minInstances: 3 }, 6, 0, 0, false],
  ['nothing during a pause', { waiting: 1, paused: true }, 6, 0, 0, false],
  [
    'nothing beside the trial of new code',
    { worn: 3, unproven: true, waiting: 5, minInstances: 4 },
    6,
    0,
    0,
    false,
  ],
  ['worn processes count until they go', { worn: 3, substitutes: 1, minInstances: 3 }, 6, 0, 0, false],
  ['but not beside their substitutes', { worn: 3, starting: 1, ahead: 1, minInstances: 4 }, 6, 1, 0, false],
  ['a substitute is one of two starts', { worn: 3, substitutes: 1, minInstances: 9 }, 6, 1, 0, false],
  ['a negative room is none', { waiting: 1 }, -2, 0, 1, true],
];

for (const [rule, facts, room, start, short, starving] of growth) {
  test(`growth: ${rule}`, () => {
    assert.deepEqual(decideGrowth(load(facts), room), { start, short, starving });
  });
}

interface Busy {
  readonly name: string;
  readonly sessions: number;
  livedMs(): number;
}

const busy = (name: string, sessions: number, livedMs = 0): Busy => ({
  name,
  sessions,
  livedMs: () => livedMs,
});

const leaving: [rule: string, groups: { minInstances: number; ready: Busy[] }[], names: string][] = [
  [
    'the largest group above its minimum, the least busy process first, until it is no larger than others',
    [
      { minInstances: 1, ready: [busy('a1', 3), busy('a2', 1), busy('a3', 2)] },
      { minInstances: 1, ready: [busy('b1', 1), busy('b2', 2)] },
    ],
    'a2 a3 b1',
  ],
  [
    'above the minimum before any other group with several',
    [
      { minInstances: 3, ready: [busy('a1', 1), busy('a2', 2), busy('a3', 3)] },
      { minInstances: 1, ready: [busy('b1', 1), busy('b2', 2)] },
    ],
    'b1 a1 a2',
  ],
  [
    'the only processes of their groups last, longest-served first, and not before they have served for a while',
    [
      { minInstances: 1, ready: [busy('a', 1, 40)] },
      { minInstances: 0, ready: [busy('b', 1, 50)] },
      { minInstances: 0, ready: [busy('c', 1, 29)] },
    ],
    'b a',
  ],
];

for (const [rule, groups, names] of leaving) {
  test(`busy processes that make way: ${rule}`, () => {
    const leavers = busyLeavers(groups, 30, 100);
    assert.equal(leavers.map(({ name }) => name).join(' '), names);
  });
}

test('pauses after failed starts double up to 30 s and are shortened by a fifth at most', () => {
  const exact = new Backoff(() => 0);
  const shortest = new Backoff(() => 1);
  const pauses = [1, 2, 3, 4, 5, 6, 7].map(() => [exact.startFailed(0), shortest.startFailed(0)]);
  assert.deepEqual(
    pauses.map(([pause]) => pause),
    [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000],
  );
  for (const [pause = 0, short = 0] of pauses) assert.equal(short, pause * 0.8);
});

test('a reset ends the pause and the series', () => {
  const backoff = new Backoff(() => 0);
  backoff.startFailed(0);
  assert.equal(backoff.active(999), true);
  assert.equal(backoff.active(1000), false);
  backoff.startFailed(1000);
  backoff.reset();
  assert.equal(backoff.active(1001), false);
  assert.equal(backoff.startFailed(2000), 1000);
});

test('beyond a lowered limit, worn processes leave first, then the least busy, of those the longest idle', () => {
  const process = (name: string, sessions: number, lastUsed: number) => ({ name, sessions, lastUsed });
  const old = process('old', 9, 5);
  const ready = [process('busy', 2, 1), process('late', 0, 4), old, process('early', 0, 3)];
  const leavers = (limit: number): string[] =>
    surplusLeavers(ready, limit, (other) => other === old).map(({ name }) => name);
  assert.deepEqual(leavers(1), ['old', 'early', 'late']);
  assert.deepEqual(leavers(3), ['old']);
  assert.deepEqual(leavers(4), []);
  assert.deepEqual(leavers(0), [], 'no limit');
});
