/** PassengerRollingRestarts and PassengerResistDeploymentErrors: restarts during which old code serves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { poolText } from '../../../core/cli/pool-report.js';
import type { AppConfig } from '../../../core/config/app-config.js';
import { PassengerError } from '../../../core/base/errors.js';
import { PROOF_MS } from '../../../core/pool/deployment.js';
import { appConfig, Bench, serverSettings } from './pool-fixture.js';

const ROLLING = appConfig('shop', { minInstances: '3', rollingRestarts: 'on' });
const RESIST = appConfig('shop', {
  minInstances: '3',
  rollingRestarts: 'on',
  resistDeploymentErrors: 'on',
});

const alive = (bench: Bench): number[] => bench.spawner.alive.map((process) => process.pid);

async function warm(
  app: AppConfig,
  server: ConstructorParameters<typeof Bench>[0] = { statThrottleRate: '0' },
): Promise<Bench> {
  const bench = new Bench(server);
  (await bench.served(app)).close();
  await bench.advance(100);
  return bench;
}

function restart(bench: Bench, app: AppConfig): void {
  bench.pool.restart(app.groupKey, 'test');
}

/** Asks ten times a second, and holds each request for a moment. Nobody waits, nobody fails. */
async function load(bench: Bench, app: AppConfig, seconds: number, least: number): Promise<void> {
  for (let tenth = 0; tenth < seconds * 10; tenth += 1) {
    const request = bench.request(app);
    // With StatThrottleRate 0 each request waits for its look.
    await bench.settle();
    assert.equal(request.state, 'serving', String(request.failure));
    await bench.advance(100);
    request.close();
    const { serving } = bench.group(app);
    assert(serving.length >= least, `${serving.length} serve`);
  }
}

test('a rolling restart replaces processes one by one; nobody waits, and there is one more at most', async () => {
  const bench = await warm(ROLLING);
  bench.spawner.knobs.delayMs = 1000;
  restart(bench, ROLLING);
  // One second for the start, one in which it shows that it stays alive.
  await load(bench, ROLLING, 1.9, 3);
  assert.equal(bench.spawner.attempts.length, 3 + 1);
  await load(bench, ROLLING, 0.6, 3);
  assert.equal(bench.spawner.attempts.length, 3 + 2);
  await load(bench, ROLLING, 3, 3);
  assert.deepEqual(alive(bench), [1003, 1004, 1005]);
  assert.equal(bench.group(ROLLING).deployment, 'settled');
});

test('restart.txt makes a rolling restart too, with traffic and without', async () => {
  const bench = await warm(ROLLING);
  bench.spawner.knobs.delayMs = 1000;
  bench.files.touch('/srv/shop');
  const request = bench.request(ROLLING);
  await bench.settle();
  assert((request.pid ?? Infinity) <= 1002, 'old code serves');
  request.close();
  await bench.advance(5000);
  assert.deepEqual(alive(bench), [1003, 1004, 1005]);
  bench.files.touch('/srv/shop');
  await bench.advance(8000);
  assert.deepEqual(alive(bench), [1006, 1007, 1008]);
});

test('a rolling restart of an app without a process, or of one that is starting, is as any other', async () => {
  const bench = new Bench();
  bench.spawner.knobs.delayMs = undefined;
  const request = bench.request(ROLLING);
  restart(bench, ROLLING);
  assert.equal(bench.spawner.attempts[0]?.canceled, true, 'it may have read the old code');
  bench.spawner.knobs.delayMs = 0;
  bench.spawner.finish();
  await bench.settle();
  assert.equal(request.state, 'serving');
});

test('a restart during a rolling restart: the newest code runs in the end, and as many serve as ever', async () => {
  const bench = await warm(ROLLING);
  bench.spawner.knobs.delayMs = 1000;
  restart(bench, ROLLING);
  await load(bench, ROLLING, 1.5, 3);
  restart(bench, ROLLING);
  assert.equal(bench.spawner.attempts.at(-2)?.canceled, true, 'a start of old code under way is canceled');
  await load(bench, ROLLING, 6, 3);
  const code = bench.group(ROLLING).code;
  assert.equal(alive(bench).length, 3);
  assert(bench.spawner.alive.every((process) => process.generation === code));
});

test('file triggers count later while the new code is on trial', async () => {
  const bench = await warm(ROLLING);
  bench.spawner.knobs.delayMs = 5000;
  restart(bench, ROLLING);
  bench.files.touch('/srv/shop');
  (await bench.served(ROLLING)).close();
  await bench.advance(4500);
  assert.equal(bench.spawner.attempts.length, 4, 'the start goes on');
  assert.equal(bench.group(ROLLING).restarting, true);
  bench.spawner.knobs.delayMs = 100;
  await bench.advance(5000);
  const code = bench.group(ROLLING).code;
  assert.equal(code, 3);
  assert(bench.spawner.alive.every((process) => process.generation === code));
});

test('a rolling restart works in a full pool', async () => {
  const bench = await warm(ROLLING, { maxPoolSize: '3' });
  bench.spawner.knobs.delayMs = 500;
  restart(bench, ROLLING);
  await load(bench, ROLLING, 3, 3);
  assert.deepEqual(alive(bench), [1003, 1004, 1005]);
});

test('an old process whose request never ends is cut at the drain timeout and holds nothing up', async () => {
  const app = appConfig('shop', { minInstances: '2', rollingRestarts: 'on', drainTimeout: '5' });
  const bench = await warm(app);
  const stuck = bench.request(app);
  await bench.settle();
  restart(bench, app);
  await bench.advance(1000);
  assert.equal(bench.group(app).serving.length, 2);
  assert.equal(bench.group(app).deployment, 'settled');
  assert(alive(bench).includes(stuck.pid ?? 0), 'it has time to finish');
  await bench.advance(5000);
  assert(!alive(bench).includes(stuck.pid ?? 0));
  assert.equal(bench.logged('PSG5007'), 1);
});

test('without error resistance, new code that does not start is tried first, then the old processes go and the error is shown', async () => {
  const bench = await warm(ROLLING);
  bench.spawner.knobs.delayMs = 1000;
  bench.spawner.knobs.failAt = 'loading';
  restart(bench, ROLLING);
  await load(bench, ROLLING, 0.8, 3);
  await bench.advance(500);
  const request = bench.request(ROLLING);
  await bench.settle();
  assert.equal(request.state, 'failed');
  assert.deepEqual(alive(bench), []);
  assert.equal(bench.logged('PSG5003'), 1);
  bench.spawner.knobs.failAt = undefined;
  await bench.advance(4000);
  assert.equal(alive(bench).length, 3, 'it is tried again after the pause');
});

test('with error resistance old code goes on serving for good; one line, and status says why', async () => {
  const bench = await warm(RESIST);
  bench.spawner.knobs.failAt = 'loading';
  restart(bench, RESIST);
  await load(bench, RESIST, 60, 3);
  assert.equal(bench.spawner.attempts.length, 4, 'the new code is tried once');
  assert.deepEqual([bench.logged('PSG5013'), bench.logged('PSG5003')], [1, 0]);
  const snapshot = bench.pool.snapshot();
  const [group] = snapshot.groups;
  assert.equal(group?.deployment, 'resisting');
  assert.equal(group.deploymentFailure?.error, 'PSG0001');
  assert.equal(group.deploymentFailure.details['step'], 'loading');
  const report = poolText(
    JSON.parse(JSON.stringify(snapshot)) as Parameters<typeof poolText>[0],
    () => undefined,
  );
  assert.match(report, /resisting a failed deployment: PSG0001/);
});

test('the next restart tries again', async () => {
  const bench = await warm(RESIST);
  bench.spawner.knobs.failAt = 'loading';
  restart(bench, RESIST);
  await bench.advance(1000);
  bench.files.touch('/srv/shop');
  (await bench.served(RESIST)).close();
  await bench.settle();
  assert.equal(bench.spawner.attempts.length, 5);
  assert.equal(bench.logged('PSG5013'), 2);
  bench.spawner.knobs.failAt = undefined;
  bench.files.touch('/srv/shop');
  (await bench.served(RESIST)).close();
  await bench.advance(1000);
  assert.deepEqual(alive(bench), [1003, 1004, 1005]);
  assert.equal(bench.pool.snapshot().groups[0]?.deploymentFailure, undefined);
});

test('error resistance alone implies rolling restarts: a blocking one could resist nothing', async () => {
  const app = appConfig('shop', { resistDeploymentErrors: 'on' });
  const bench = await warm(app);
  bench.spawner.knobs.failAt = 'loading';
  restart(bench, app);
  await load(bench, app, 5, 1);
  assert.equal(bench.group(app).deployment, 'resisting');
});

test('while resisting, nothing is started and nothing leaves for being idle; with the last old process the new code is tried, with growing pauses', async () => {
  const app = appConfig('shop', { minInstances: '2', resistDeploymentErrors: 'on' });
  const bench = await warm(app, { poolIdleTime: '5' });
  bench.spawner.knobs.failAt = 'loading';
  restart(bench, app);
  await bench.advance(30_000);
  assert.deepEqual(alive(bench), [1000, 1001]);
  bench.spawner.processes[0]?.exit();
  await bench.advance(30_000);
  assert.equal(bench.spawner.attempts.length, 3);
  bench.spawner.processes[1]?.exit();
  await bench.advance(8000);
  const request = bench.request(app);
  await bench.settle();
  assert.equal(request.failure?.code, 'PSG0001', 'visitors see why');
  assert.equal(bench.spawner.attempts.length, 3 + 3, 'at once, after 2 s, after 4 s more');
  bench.spawner.knobs.failAt = undefined;
  await bench.advance(9000);
  assert.equal(alive(bench).length, 2);
});

test('while resisting, processes above the minimum stay too, since nobody could take their place again', async () => {
  const app = appConfig('shop', {
    minInstances: '0',
    maxInstances: '3',
    forceMaxConcurrentRequestsPerProcess: '1',
    resistDeploymentErrors: 'on',
  });
  const bench = new Bench({ poolIdleTime: '5', statThrottleRate: '0' });
  const requests = [bench.request(app), bench.request(app), bench.request(app)];
  await bench.settle();
  for (const request of requests) request.close();
  assert.deepEqual(alive(bench), [1000, 1001, 1002]);
  bench.spawner.knobs.failAt = 'loading';
  restart(bench, app);
  await bench.advance(60_000, 1000);
  assert.deepEqual(alive(bench), [1000, 1001, 1002]);
  bench.spawner.knobs.failAt = undefined;
  restart(bench, app);
  await bench.advance(60_000, 1000);
  assert.deepEqual(alive(bench), [], 'the new code works, and nobody asks for it');
});

test('a resisting app still gives way to one that starves, but only where nobody else can', async () => {
  const bench = await warm(RESIST, { maxPoolSize: '5' });
  const rich = appConfig('rich', { minInstances: '0' });
  (await bench.served(rich)).close();
  bench.spawner.knobs.failAt = 'loading';
  restart(bench, RESIST);
  await bench.advance(100);
  bench.spawner.knobs.failAt = undefined;
  (await bench.served(appConfig('one'))).close();
  (await bench.served(appConfig('two'))).close();
  assert.equal(bench.group(RESIST).serving.length, 3);
  (await bench.served(appConfig('three'))).close();
  assert.equal(bench.group(RESIST).serving.length, 2);
});

test('a reload while resisting tries once more, and resists again', async () => {
  const bench = await warm(RESIST);
  bench.spawner.knobs.failAt = 'loading';
  restart(bench, RESIST);
  await bench.advance(1000);
  bench.pool.reload(serverSettings({ statThrottleRate: '0' }), 2);
  await bench.advance(10_000);
  assert.equal(bench.spawner.attempts.length, 5);
  assert.equal(bench.group(RESIST).deployment, 'resisting');
});

test('a failure of a later substitute is no failed deployment: it is tried again after a pause', async () => {
  const bench = await warm(RESIST);
  bench.spawner.knobs.delayMs = 1000;
  restart(bench, RESIST);
  await load(bench, RESIST, 1, 3);
  bench.spawner.knobs.failAt = 'loading';
  await load(bench, RESIST, 3, 3);
  bench.spawner.knobs.failAt = undefined;
  await load(bench, RESIST, 10, 3);
  assert.equal(bench.group(RESIST).deployment, 'settled');
  assert.equal(bench.logged('PSG5013'), 0);
});

test('turning rolling restarts on or off counts from the next restart on', async () => {
  const bench = await warm(ROLLING, {});
  const blocking = appConfig('shop', { minInstances: '3', redeployOnReload: 'off' });
  assert.equal(blocking.groupKey, ROLLING.groupKey);
  bench.pool.reload(serverSettings(), 2);
  (await bench.served(blocking, { generation: 2 })).close();
  await bench.advance(2000);
  bench.spawner.knobs.delayMs = 1000;
  restart(bench, blocking);
  assert.equal(bench.request(blocking, { generation: 2 }).state, 'waiting');
});

test('new code that dies as soon as it is ready has served nobody and replaces nobody', async () => {
  const bench = await warm(RESIST);
  bench.spawner.knobs.exitAfterMs = 900;
  restart(bench, RESIST);
  await load(bench, RESIST, 60, 3);
  assert.deepEqual(alive(bench), [1000, 1001, 1002]);
  assert.equal(bench.spawner.attempts.length, 4, 'the new code is tried once');
  assert.equal(bench.group(RESIST).deployment, 'resisting');
  assert.equal(bench.pool.snapshot().groups[0]?.deploymentFailure?.error, 'PSG6019');
  assert.deepEqual([bench.logged('PSG5013'), bench.logged('PSG5005')], [1, 0]);
});

test('code that dies later is proven: its processes are replaced as any other', async () => {
  const bench = await warm(RESIST);
  bench.spawner.knobs.exitAfterMs = 1500;
  restart(bench, RESIST);
  await bench.advance(1400);
  assert.notEqual(bench.group(RESIST).deployment, 'resisting');
  assert(!alive(bench).includes(1000), 'the first old process has gone');
});

test('only the first process of new code has to prove itself', async () => {
  const bench = await warm(ROLLING);
  bench.spawner.knobs.delayMs = 100;
  restart(bench, ROLLING);
  await bench.advance(100 + PROOF_MS + 100 + 100, 100);
  assert.deepEqual(alive(bench), [1003, 1004, 1005]);
});

test('when the last old process ends, the new one serves at once, proven or not', async () => {
  const bench = await warm(ROLLING);
  restart(bench, ROLLING);
  await bench.settle();
  bench.spawner.knobs.delayMs = 5000;
  for (const old of bench.spawner.processes.slice(0, 3)) old.exit();
  const request = bench.request(ROLLING);
  await bench.settle();
  assert.equal(request.pid, 1003);
});

test('a restart while new code proves itself ends that process, and the newest code is tried', async () => {
  const bench = await warm(ROLLING);
  restart(bench, ROLLING);
  await bench.advance(500);
  assert.deepEqual(alive(bench), [1000, 1001, 1002, 1003]);
  restart(bench, ROLLING);
  await bench.settle();
  assert.deepEqual(alive(bench), [1000, 1001, 1002, 1004]);
  await bench.advance(PROOF_MS);
  assert.deepEqual(alive(bench), [1004, 1005, 1006]);
});

test('a process that takes too much memory while it proves itself is a failed start', async () => {
  const app = appConfig('shop', { minInstances: '1', resistDeploymentErrors: 'on', hardMemoryLimit: '100' });
  const bench = await warm(app);
  bench.spawner.knobs.exitAfterMs = undefined;
  restart(bench, app);
  await bench.settle();
  const starting = [...bench.group(app).members].find(({ state }) => state === 'starting');
  assert(starting !== undefined);
  bench.group(app).losses.condemn(starting, new PassengerError('PSG5030', {}), true);
  await bench.advance(PROOF_MS);
  assert.deepEqual(alive(bench), [1000]);
  assert.equal(bench.pool.snapshot().groups[0]?.deploymentFailure?.error, 'PSG5030');
});

test('proofs hold no other app up: four start at a time, however many are proving themselves', async () => {
  const bench = new Bench({ maxPoolSize: '20' });
  const apps = Array.from({ length: 12 }, (_, index) => appConfig(`app${index}`, { rollingRestarts: 'on' }));
  for (const app of apps) (await bench.served(app)).close();
  bench.spawner.knobs.delayMs = 100;
  for (const app of apps) restart(bench, app);
  await bench.advance(350, 50);
  assert.equal(
    bench.spawner.attempts.length,
    24,
    'all have been started within three times the time of a start',
  );
  await bench.advance(PROOF_MS);
  assert.equal(bench.spawner.alive.length, 12);
});
