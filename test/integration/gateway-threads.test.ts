/** PassengerGatewayThreads 2: from outside, the gateway in two threads is the gateway. */
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { giveTo } from '../support/apps.js';
import { eventually } from '../support/eventually.js';
import { adminView, openSessions } from './pool-view.js';
import { Load, ask } from './client.js';
import { alive, appPids, corePid, rule, supervisorPid } from './kit.js';

interface Counters {
  readonly started: number;
  readonly completed: number;
  readonly threads: readonly { readonly started: number; readonly connections: number }[];
}

const TWO = 'PassengerGatewayThreads 2';

interface Processes {
  readonly groups: readonly { readonly processes: readonly { sessions: number; processed: number }[] }[];
}

function version(app: string, text: string): void {
  writeFileSync(`${app}/version.txt`, text);
}

rule('both threads carry requests, and every request is counted once', {}, async (scene) => {
  const { apache } = await scene.serve('probe', '', { server: TWO });
  await ask(apache.port, 'a.test', '/');
  const load = new Load(apache.port, 'a.test', '/', 16);
  await eventually(30_000, 'both threads have work', async () => {
    const { threads } = await adminView<Counters>(apache, '/gateway.json');
    return threads.length === 2 && threads.every(({ started }) => started > 20);
  });
  const result = await load.stop();
  assert.deepEqual(result.failures, []);
  const all = result.requests + 1;
  await eventually(5000, 'the threads have told', async () => {
    return (await adminView<Counters>(apache, '/gateway.json')).completed === all;
  });
  const [process] = (await adminView<Processes>(apache, '/pool.json')).groups[0]?.processes ?? [];
  assert.equal(process?.processed, all);
  assert.equal(process.sessions, 0);
});

rule('the limit of one request at a time holds over both threads', {}, async (scene) => {
  const config = 'PassengerForceMaxConcurrentRequestsPerProcess 1\nPassengerMaxInstances 2';
  const { apache, app } = await scene.serve('probe', config, { server: TWO });
  await ask(apache.port, 'a.test', '/');
  const load = new Load(apache.port, 'a.test', '/slow?ms=5', 12);
  const most: number[] = [];
  await eventually(30_000, 'a few hundred requests', async () => {
    const { groups } = await adminView<Processes>(apache, '/pool.json');
    for (const { sessions } of groups[0]?.processes ?? []) most.push(sessions);
    return load.requests > 300;
  });
  const result = await load.stop();
  assert.deepEqual(result.failures, []);
  assert.ok(
    most.every((sessions) => sessions <= 1),
    most.join(' '),
  );
  assert.equal(appPids(apache, app).length, 2);
});

rule(
  'touching restart.txt: the very next request runs the new code, in whatever thread',
  {},
  async (scene) => {
    const { apache, app } = await scene.serve('probe', '', { server: `${TWO}\nPassengerStatThrottleRate 0` });
    // Three restarts in a row are free, then it is one in two seconds.
    for (let turn = 1; turn <= 3; turn += 1) {
      version(app, String(turn));
      writeFileSync(`${app}/tmp/restart.txt`, '');
      giveTo(`${app}/tmp/restart.txt`, 'psgapp1');
      const answers = await Promise.all(
        Array.from({ length: 6 }, () => ask(apache.port, 'a.test', '/version')),
      );
      for (const answer of answers) assert.equal(answer.text, String(turn));
    }
  },
);

rule('a graceful reload under load fails no request', { timeoutMs: 120_000 }, async (scene) => {
  const { apache, app } = await scene.serve('probe', '', { server: TWO });
  await ask(apache.port, 'a.test', '/');
  const core = corePid(apache);
  const load = new Load(apache.port, 'a.test', '/slow?ms=10', 8);
  for (const text of ['2', '3']) {
    version(app, text);
    await apache.graceful();
    await eventually(20_000, `version ${text} serves`, async () => {
      return (await ask(apache.port, 'a.test', '/version')).text === text;
    });
  }
  const result = await load.stop();
  assert.deepEqual(result.failures, []);
  assert.equal(corePid(apache), core);
  await eventually(15_000, 'the old processes are gone', () => appPids(apache, app).length === 1);
});

rule('kill -9 of an app under load: at most its own requests fail', { root: true }, async (scene) => {
  const { apache, app } = await scene.serve('probe', 'PassengerMinInstances 2', {
    server: `${TWO}\nPassengerMaxPoolSize 3`,
  });
  await ask(apache.port, 'a.test', '/');
  apache.allowLog(/PSG\d{4}/);
  await eventually(10_000, 'two processes', () => appPids(apache, app).length === 2);
  const load = new Load(apache.port, 'a.test', '/slow?ms=20', 8);
  await load.reached(20);
  process.kill(appPids(apache, app)[0] ?? 0, 'SIGKILL');
  await eventually(10_000, 'two processes again', () => appPids(apache, app).length === 2);
  const result = await load.stop();
  assert.ok(result.failures.length <= 8, result.failures.join('\n'));
  for (const failure of result.failures) assert.match(failure, /^502 /);
  await eventually(5000, 'no session is left', async () => {
    const { groups } = await adminView<Processes>(apache, '/pool.json');
    return groups.every((group) => group.processes.every(({ sessions }) => sessions === 0));
  });
});

rule(
  'kill -9 of the core under load: apps keep their pids, both threads are back',
  { root: true },
  async (scene) => {
    const { apache, app } = await scene.serve('probe', '', { server: TWO });
    await ask(apache.port, 'a.test', '/');
    apache.allowLog(/PSG\d{4}/);
    const before = appPids(apache, app);
    const core = corePid(apache);
    const load = new Load(apache.port, 'a.test', '/slow?ms=10', 8);
    await load.reached(20);
    process.kill(core, 'SIGKILL');
    await eventually(15_000, 'another core serves', async () => {
      return !alive(core) && (await ask(apache.port, 'a.test', '/')).status === 200;
    });
    await load.stop();
    assert.deepEqual(appPids(apache, app), before);
    assert.equal((await adminView<Counters>(apache, '/gateway.json')).threads.length, 2);
  },
);

// Apache itself decides what becomes of requests when it is stopped and not told to stop gracefully.
rule('stopping with requests under way in both threads leaves nothing', {}, async (scene) => {
  const { apache } = await scene.serve('probe', '', { server: TWO });
  await ask(apache.port, 'a.test', '/');
  const slow = Array.from({ length: 6 }, () => ask(apache.port, 'a.test', '/slow?ms=1500'));
  await eventually(5000, 'all are under way', async () => (await openSessions(apache)) === 6);
  const pids = [corePid(apache), supervisorPid(apache), ...appPids(apache)];
  await apache.stop();
  await Promise.all(slow);
  await eventually(15_000, 'everything is gone', () => !pids.some(alive));
});

rule(
  'with one thread the gateway is in the main thread; with two it has threads of its own',
  {},
  async (scene) => {
    const { apache } = await scene.serve('probe', '', { server: 'PassengerGatewayThreads 1' });
    await ask(apache.port, 'a.test', '/');
    const one = readdirSync(`/proc/${corePid(apache)}/task`).length;
    assert.equal((await adminView<Counters>(apache, '/gateway.json')).threads.length, 1);
    await apache.stop();
    const other = await scene.serve('probe', '', { server: TWO });
    await ask(other.apache.port, 'a.test', '/');
    const two = readdirSync(`/proc/${corePid(other.apache)}/task`).length;
    assert.ok(two >= one + 2, `${one} and ${two} threads`);
  },
);
