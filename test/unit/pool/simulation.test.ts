/** Many apps: decisions do not get dearer with their number, and those that nobody asks for cost nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { simulateRare } from '../../support/calm-simulation.js';
import { simulate } from '../../support/pool-simulation.js';
import { appConfig, Bench } from './pool-fixture.js';

test('with fifty times as many apps a decision does not cost eight times as much', async () => {
  await simulate({ groups: 40, requests: 10_000, open: 10, seed: 1 });
  const costs = { few: Infinity, many: Infinity };
  // The machine may be busy with something else: the best of three counts.
  for (let round = 0; round < 3; round += 1) {
    const few = await simulate({ groups: 40, requests: 20_000, open: 10, seed: 2 });
    const many = await simulate({ groups: 2000, requests: 20_000, open: 500, seed: 2 });
    assert.equal(few.served + few.failed + many.served + many.failed, 40_000);
    costs.few = Math.min(costs.few, few.checkout.p90Us + few.close.p90Us);
    costs.many = Math.min(costs.many, many.checkout.p90Us + many.close.p90Us);
  }
  assert.ok(costs.many < 8 * costs.few, JSON.stringify(costs));
});

test('what happens to one app now and then does not cost more among forty times as many', async () => {
  const least = {
    few: { newsUs: Infinity, overdueUs: Infinity },
    many: { newsUs: Infinity, overdueUs: Infinity },
  };
  for (let round = 0; round < 3; round += 1) {
    for (const [size, groups] of [
      ['few', 50],
      ['many', 2000],
    ] as const) {
      const { newsUs, overdueUs } = await simulateRare(groups);
      least[size].newsUs = Math.min(least[size].newsUs, newsUs);
      least[size].overdueUs = Math.min(least[size].overdueUs, overdueUs);
    }
  }
  // Two microseconds are less than the clock and the collector may add.
  assert.ok(least.many.newsUs < 8 * least.few.newsUs + 2, JSON.stringify(least));
  assert.ok(least.many.overdueUs < 8 * least.few.overdueUs + 2, JSON.stringify(least));
});

test('apps without processes cost neither timers nor looks at files', async () => {
  const { idle } = await simulate({ groups: 1000, requests: 5000, open: 100, seed: 3, rest: true });
  assert.ok(idle !== undefined);
  assert.equal(idle.processes, 0);
  assert.ok(idle.groups > 300, 'they are remembered for a while');
  assert.equal(idle.looks, 0);
  assert.ok(idle.timers <= 200, `${idle.timers} timers in 200 s`);
});

test('an app without processes looks at restart.txt when it gets a request', async () => {
  const bench = new Bench({ poolIdleTime: '20', statThrottleRate: '0' });
  const config = appConfig('shop', { minInstances: '0' });
  (await bench.served(config)).close();
  await bench.advance(25_000);
  assert.equal(bench.spawner.alive.length, 0);
  const { looks } = bench.files;
  bench.files.touch('/srv/shop');
  await bench.advance(10_000);
  assert.equal(bench.files.looks, looks, 'nothing runs that would have to be restarted');
  (await bench.served(config)).close();
  assert.ok(bench.files.looks > looks);
  const started = bench.spawner.attempts.length;
  bench.files.touch('/srv/shop');
  await bench.advance(5000);
  await bench.served(config);
  assert.ok(bench.spawner.attempts.length > started, 'now there is something to restart');
});
