/** How many processes there are: by the load of event loops, before the first visitor, and in a full pool. */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { freePort } from '../../core/cli/private-apache.js';
import { eventually } from '../support/eventually.js';
import { Load, ask } from './client.js';
import { appPids, rule, site } from './kit.js';
import { onlyGroup, openSessions, servingPids } from './pool-view.js';

const oneCore = availableParallelism() < 2 ? 'another process does not help on one core' : false;

/** Answers within the next second. */
async function answered(load: Load): Promise<number> {
  const before = load.requests;
  await new Promise((turn) => setTimeout(turn, 1000));
  return load.requests - before;
}

/**
 * How much more is done with the process than without, in turns, because what else runs on the machine changes all the time:
 * 2 on two idle cores, 1.33 where one of them is taken by something else.
 */
class Gain {
  #without = 0;
  #both = 0;

  constructor(
    private readonly load: Load,
    private readonly pid: number,
  ) {}

  async turn(): Promise<number> {
    process.kill(this.pid, 'SIGSTOP');
    try {
      this.#without += await answered(this.load);
    } finally {
      process.kill(this.pid, 'SIGCONT');
    }
    this.#both += await answered(this.load);
    return this.#both / this.#without;
  }
}

rule(
  'a CPU-bound app gets a second process by itself and gets more done with it, and gives it back afterwards',
  { skip: oneCore, timeoutMs: 180_000 },
  async (scene) => {
    const { apache } = await scene.serve('probe', 'PassengerMaxInstances 2', {
      server: 'PassengerPoolIdleTime 4',
    });
    // Some 15 ms of CPU time each.
    const load = new Load(apache.port, 'a.test', '/work?n=25000', 6);
    const [, second = 0] = await eventually(60_000, 'two processes', async () => {
      const pids = load.requests > 0 ? await servingPids(apache) : [];
      return pids.length === 2 ? pids : undefined;
    });
    const gain = new Gain(load, second);
    await gain.turn();
    await eventually(20_000, 'a third more is done with both', async () => (await gain.turn()) > 1.3);
    const { processes } = await onlyGroup(apache);
    for (const { processed } of processes) assert.ok(processed >= 30, 'both have a share of the work');
    assert.deepEqual((await load.stop()).failures, []);
    await eventually(60_000, 'one process again', async () => (await servingPids(apache)).length === 1);
  },
);

rule(
  'an app that blocks its event loop from its first request on gets a second process, which serves the others',
  { skip: oneCore, timeoutMs: 120_000 },
  async (scene) => {
    const { apache, app } = await scene.serve('probe', 'PassengerMaxInstances 2');
    const stuck = ask(apache.port, 'a.test', '/spin?ms=25000', { timeoutMs: 60_000 });
    await eventually(5000, 'it is under way', async () => (await openSessions(apache)) === 1);
    const [first = 0] = appPids(apache, app);
    const waiting = ask(apache.port, 'a.test', '/pid', { timeoutMs: 60_000 });
    await eventually(20_000, 'a second process', async () => (await servingPids(apache)).length === 2);
    assert.notEqual((await ask(apache.port, 'a.test', '/pid')).text, String(first));
    process.kill(first, 'SIGKILL');
    apache.allowLog(/PSG5005|PSG4001/);
    assert.equal((await stuck).status, 502);
    assert.equal((await waiting).status, 200, 'nobody had read it');
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
  const old = new Map((await onlyGroup(apache)).processes.map(({ pid, processed }) => [pid, processed]));
  let asked = false;
  const watched = eventually(20_000, 'the question after the reload', async () => {
    const group = await onlyGroup(apache);
    // The old code serves until the new one has lived for a moment: either may get it.
    asked ||= group.processes.some(({ pid, processed }) => processed > (old.get(pid) ?? 0));
    const replaced = group.processes.every(({ pid }) => !old.has(pid));
    return asked && replaced && group.deployment === 'settled' ? group : undefined;
  });
  const [again] = await Promise.all([watched, apache.graceful()]);
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
