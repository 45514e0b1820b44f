/** How many processes there are: by the load of event loops, before the first visitor, and in a full pool. */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { freePort } from '../../core/cli/private-apache.js';
import { eventually } from '../support/eventually.js';
import { Load, ask } from './client.js';
import { appPids, rule, site } from './kit.js';
import { onlyGroup, servingPids } from './pool-view.js';

const oneCore = availableParallelism() < 2 ? 'another process does not help on one core' : false;

rule(
  'an app whose event loop is full gets a second process by itself, and gives it back afterwards',
  { skip: oneCore, timeoutMs: 120_000 },
  async (scene) => {
    const { apache } = await scene.serve('probe', 'PassengerMaxInstances 2', {
      server: 'PassengerPoolIdleTime 4',
    });
    const load = new Load(apache.port, 'a.test', '/spin?ms=20', 6);
    const alone = performance.now();
    await eventually(60_000, 'two processes', async () => {
      // Nothing is known of the app before its first request has come in.
      return load.requests > 0 && (await servingPids(apache)).length === 2;
    });
    const aloneRate = load.requests / (performance.now() - alone);
    const before = { requests: load.requests, at: performance.now() };
    await load.reached(before.requests + 300);
    const bothRate = (load.requests - before.requests) / (performance.now() - before.at);
    const { processes } = await onlyGroup(apache);
    for (const { processed } of processes) assert.ok(processed >= 80, 'both have a share of the work');
    const result = await load.stop();
    assert.deepEqual(result.failures, []);
    // On a machine that others use, too, only this much is certain: it has not become slower.
    const rates = `${(aloneRate * 1000).toFixed(0)}/s with one process, ${(bothRate * 1000).toFixed(0)}/s with two`;
    assert.ok(bothRate > 0.8 * aloneRate, rates);
    await eventually(60_000, 'one process again', async () => (await servingPids(apache)).length === 1);
  },
);

rule('PassengerPreStart: the app is warm before its first visitor', {}, async (scene) => {
  const app = await scene.app('probe');
  const port = await freePort();
  const url = `http://a.test:${port}/`;
  const apache = await scene.start({
    server: `Listen 127.0.0.1:${port}
PassengerPreStart ${url}
<VirtualHost 127.0.0.1:${port}>
ServerName a.test
DocumentRoot ${app}/public
PassengerMinInstances 2
<Directory ${app}/public>
Require all granted
</Directory>
</VirtualHost>`,
    vhosts: [site('b.test', app)],
  });
  await eventually(20_000, 'two processes', () => appPids(apache, app).length === 2);
  const { processes } = await onlyGroup(apache);
  assert.equal(
    processes.reduce((sum, { processed }) => sum + processed, 0),
    1,
    'one question and nothing else',
  );
  assert.equal((await ask(port, 'a.test', '/')).status, 200);
  await apache.graceful();
  const again = await eventually(20_000, 'the question after the reload', async () => {
    const group = await onlyGroup(apache);
    const asked = group.processes.some(({ state, processed }) => state === 'ready' && processed > 0);
    return asked && group.deployment === 'settled' ? group : undefined;
  });
  assert.equal(again.processes.filter(({ state }) => state === 'ready').length, 2);
});

rule('a URL of PassengerPreStart that nobody answers costs a line in the log', {}, async (scene) => {
  const { apache } = await scene.serve('probe', '', { server: 'PassengerPreStart http://a.test:1/' });
  apache.allowLog(/PSG8003/);
  await eventually(10_000, 'the line', () => /PSG8003.*ECONNREFUSED/.test(apache.log()));
  assert.equal((await ask(apache.port, 'a.test', '/')).status, 200);
});

rule('in a full pool an app gets its place although the other one is never idle', {}, async (scene) => {
  const apps = [await scene.app('probe'), await scene.app('probe')] as const;
  const apache = await scene.start({
    server: 'PassengerMaxPoolSize 2',
    vhosts: [site('a.test', apps[0], 'PassengerMinInstances 2'), site('b.test', apps[1])],
  });
  // Of such different lengths that a process hardly ever finishes all of them at the same moment.
  const loads = [700, 900, 1100, 1300].map((ms) => new Load(apache.port, 'a.test', `/slow?ms=${ms}`, 4));
  await eventually(20_000, 'a full pool', () => appPids(apache, apps[0]).length === 2);
  await Promise.all(loads.map((load) => load.reached(load.requests + 8)));
  const answer = await ask(apache.port, 'b.test', '/pid', { timeoutMs: 30_000 });
  assert.equal(answer.status, 200, answer.failure);
  for (const load of loads) {
    assert.deepEqual((await load.stop()).failures, [], 'and nobody else has lost anything');
  }
});
