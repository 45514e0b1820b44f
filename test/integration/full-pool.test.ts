/** How many processes there are, and who makes way for whom in a full pool, with real processes. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Apache } from '../support/apache.js';
import { giveTo } from '../support/apps.js';
import { eventually } from '../support/eventually.js';
import { ask } from './client.js';
import { alive, appPids, logLine, rule, site, type Scene } from './kit.js';
import { adminView, openSessions, servingPids } from './pool-view.js';

/** Virtual hosts a.test, b.test …, each over an app of its own. */
async function apps(
  scene: Scene,
  count: number,
  server: string,
): Promise<{ apache: Apache; roots: string[] }> {
  const roots: string[] = [];
  for (let n = 0; n < count; n += 1) roots.push(await scene.app('probe'));
  const vhosts = roots.map((root, n) => site(`${'abc'[n] ?? ''}.test`, root));
  return { apache: await scene.start({ vhosts, server }), roots };
}

async function pidOf(apache: Apache, host: string): Promise<number> {
  const answer = await ask(apache.port, host, '/pid');
  assert.equal(answer.status, 200, answer.failure);
  return Number(answer.text);
}

rule(
  'an app that takes one request at a time grows to its limit, and shrinks to its minimum when idle',
  {},
  async (scene) => {
    const roots = [await scene.app('probe'), await scene.app('probe')] as const;
    const one = 'PassengerForceMaxConcurrentRequestsPerProcess 1';
    const apache = await scene.start({
      server: 'PassengerPoolIdleTime 2\nPassengerMaxInstancesPerApp 2',
      vhosts: [
        site('a.test', roots[0], `${one}\nPassengerMaxInstances 3`),
        site('b.test', roots[1], `${one}\nPassengerMinInstances 0`),
      ],
    });
    const requests = ['a.test', 'b.test'].flatMap((host) =>
      Array.from({ length: 6 }, () => ask(apache.port, host, '/slow?ms=400')),
    );
    const most = [0, 0];
    let open = requests.length;
    for (const request of requests) void request.then(() => (open -= 1));
    await eventually(20_000, 'all are answered', () => {
      roots.forEach((root, n) => (most[n] = Math.max(most[n] ?? 0, appPids(apache, root).length)));
      return open === 0;
    });
    for (const { status } of await Promise.all(requests)) assert.equal(status, 200);
    assert.deepEqual(most, [3, 2], 'PassengerMaxInstances, PassengerMaxInstancesPerApp');
    await eventually(15_000, 'the minimum of each', () => {
      return appPids(apache, roots[0]).length === 1 && appPids(apache, roots[1]).length === 0;
    });
    await pidOf(apache, 'b.test');
  },
);

rule(
  'in a full pool the process that has been idle for longest makes way for an app that has none, and its own app comes back',
  {},
  async (scene) => {
    const { apache, roots } = await apps(scene, 3, 'PassengerMaxPoolSize 2');
    const first = await pidOf(apache, 'a.test');
    const b = await pidOf(apache, 'b.test');
    await pidOf(apache, 'c.test');
    await eventually(5000, 'a has none', () => appPids(apache, roots[0]).length === 0);
    assert.deepEqual([alive(first), alive(b)], [false, true]);
    assert.notEqual(await pidOf(apache, 'a.test'), first);
    await eventually(5000, 'b has none', () => appPids(apache, roots[1]).length === 0);
  },
);

rule('when nobody is idle, the first process that becomes idle makes way', {}, async (scene) => {
  const { apache } = await apps(scene, 2, 'PassengerMaxPoolSize 1');
  await pidOf(apache, 'a.test');
  const slow = ask(apache.port, 'a.test', '/slow?ms=1500');
  await eventually(5000, 'it is under way', async () => (await openSessions(apache)) === 1);
  const begun = performance.now();
  await pidOf(apache, 'b.test');
  assert.ok(performance.now() - begun > 1000, 'it has waited');
  assert.equal((await slow).status, 200);
});

rule('a raised PassengerMaxPoolSize serves at once who waits for a place', {}, async (scene) => {
  const { apache } = await apps(scene, 2, 'PassengerMaxPoolSize 1\nPassengerRedeployOnReload off');
  await pidOf(apache, 'a.test');
  const order: string[] = [];
  const slow = ask(apache.port, 'a.test', '/slow?ms=4000').finally(() => order.push('a'));
  await eventually(5000, 'it is under way', async () => (await openSessions(apache)) === 1);
  const waiting = pidOf(apache, 'b.test').finally(() => order.push('b'));
  await eventually(5000, 'it waits for a place', async () => {
    return (await adminView<{ starvingGroups: number }>(apache, '/pool.json')).starvingGroups === 1;
  });
  const file = `${apache.dir}/httpd.conf`;
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace('PassengerMaxPoolSize 1', 'PassengerMaxPoolSize 2'));
  await apache.graceful();
  await waiting;
  assert.equal((await slow).status, 200);
  assert.deepEqual(order, ['b', 'a'], 'while the other one was still at work');
});

rule('a process that finishes its last request takes no place', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe', '', {
    server: 'PassengerMaxPoolSize 1\nPassengerStatThrottleRate 0',
  });
  const old = await pidOf(apache, 'a.test');
  let done = false;
  const slow = ask(apache.port, 'a.test', '/slow?ms=3000').finally(() => (done = true));
  await eventually(5000, 'it is under way', async () => (await openSessions(apache)) === 1);
  writeFileSync(`${app}/tmp/restart.txt`, '');
  giveTo(`${app}/tmp/restart.txt`, 'psgapp1');
  assert.notEqual(await pidOf(apache, 'a.test'), old);
  assert.ok(!done && alive(old), 'two processes, of which one counts');
  assert.equal((await slow).status, 200);
});

rule('a further process that cannot be started costs nobody anything', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe', 'PassengerForceMaxConcurrentRequestsPerProcess 1');
  const pid = await pidOf(apache, 'a.test');
  apache.allowLog(/PSG5003|PSG6\d{3}|App \d+ std/);
  writeFileSync(`${app}/app.js`, 'throw new Error("a bad deployment")');
  const answers = await Promise.all([1, 2, 3].map(() => ask(apache.port, 'a.test', '/slow?ms=300')));
  for (const { status, text } of answers) {
    assert.equal(status, 200, text);
    assert.match(text, new RegExp(`^slow ${pid} `));
  }
  await logLine(apache, /PSG5003/);
  assert.deepEqual(await servingPids(apache), [pid]);
});
