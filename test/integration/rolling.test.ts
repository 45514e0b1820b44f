/** Replacing processes under load: rolling restarts, resisted deployments, PassengerMaxRequests, reloads. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Apache } from '../support/apache.js';
import { giveTo } from '../support/apps.js';
import { eventually } from '../support/eventually.js';
import { Load, ask } from './client.js';
import { alive, logLine, rule, type Scene } from './kit.js';
import { onlyGroup, servingPids, ServingWatch } from './pool-view.js';

const NOW = 'PassengerStatThrottleRate 0';
const THREE = 'PassengerMinInstances 3\n';

function touch(app: string): void {
  writeFileSync(`${app}/tmp/restart.txt`, String(Math.random()));
  giveTo(`${app}/tmp/restart.txt`, 'psgapp1');
}

function deploy(app: string, version: string): void {
  writeFileSync(`${app}/version.txt`, version);
  touch(app);
}

/** An app with three warm processes. */
async function three(
  scene: Scene,
  config: string,
  server = NOW,
): Promise<{ apache: Apache; app: string; pids: number[] }> {
  const { apache, app } = await scene.serve('probe', THREE + config, { server });
  await ask(apache.port, 'a.test', '/');
  const pids = await eventually(20_000, 'three processes', async () => {
    const serving = await servingPids(apache);
    return serving.length === 3 ? serving : undefined;
  });
  return { apache, app, pids };
}

interface Resisting {
  readonly apache: Apache;
  readonly app: string;
  readonly pids: readonly number[];
  readonly load: Load;
  /** The code that serves. */
  readonly source: string;
}

/** Three processes under load whose app has got code that cannot serve; the failure is the one of that number. */
async function resisting(scene: Scene, bad: (source: string) => string, error: string): Promise<Resisting> {
  const { apache, app, pids } = await three(scene, 'PassengerResistDeploymentErrors on');
  const source = readFileSync(`${app}/app.js`, 'utf8');
  apache.allowLog(/PSG5013|App \d+ std/);
  const load = new Load(apache.port, 'a.test', '/pid', 8);
  await load.reached(50);
  writeFileSync(`${app}/app.js`, bad(source));
  touch(app);
  await logLine(apache, new RegExp(`PSG5013.*${error}`), 20_000);
  const { deployment, deploymentFailure } = await onlyGroup(apache);
  assert.deepEqual([deployment, deploymentFailure?.error], ['resisting', error]);
  await load.reached(load.requests + 100);
  assert.deepEqual(await servingPids(apache), pids, 'the old processes serve');
  return { apache, app, pids, load, source };
}

async function replaced(apache: Apache, old: readonly number[]): Promise<void> {
  await eventually(30_000, 'all processes are new', async () => {
    const serving = await servingPids(apache);
    const { deployment } = await onlyGroup(apache);
    return deployment === 'settled' && serving.length === 3 && !serving.some((pid) => old.includes(pid));
  });
}

rule(
  'a rolling restart under load fails no request, and three processes serve all the time',
  {},
  async (scene) => {
    const { apache, app, pids } = await three(scene, 'PassengerRollingRestarts on');
    const load = new Load(apache.port, 'a.test', '/version', 8);
    const watch = new ServingWatch(apache);
    await load.reached(50);
    deploy(app, '2');
    await replaced(apache, pids);
    const { least, most } = await watch.stop();
    const result = await load.stop();
    assert.deepEqual(result.failures, []);
    assert.deepEqual([...result.bodies].sort(), ['1', '2']);
    assert.ok(least === 3 && most <= 4, `${least} to ${most} processes served`);
  },
);

rule(
  'new code that does not start is resisted under load: nobody notices, status and log say why, and the next restart mends it',
  {},
  async (scene) => {
    const bad = (): string => 'throw new Error("a bad deployment")';
    const { apache, app, pids, load, source } = await resisting(scene, bad, 'PSG6006');
    writeFileSync(`${app}/app.js`, source);
    touch(app);
    await replaced(apache, pids);
    const result = await load.stop();
    assert.deepEqual(result.failures, []);
    assert.equal(apache.log().match(/PSG5013/g)?.length, 1);
  },
);

rule(
  'new code that dies as soon as it is ready is resisted, too: nobody’s request reaches it',
  {},
  async (scene) => {
    const bad = (source: string): string => `${source}\nsetTimeout(() => process.exit(7), 300);`;
    const { pids, load } = await resisting(scene, bad, 'PSG6019');
    const { failures, bodies } = await load.stop();
    assert.deepEqual(failures, []);
    assert.deepEqual([...bodies].map(Number).sort(), [...pids].sort());
  },
);

rule(
  'PassengerMaxRequests 20 under load fails no request, and no process takes more than twice as many',
  {},
  async (scene) => {
    const { apache } = await three(scene, 'PassengerMaxRequests 20', 'PassengerGatewayThreads 2');
    const load = new Load(apache.port, 'a.test', '/slow?ms=20', 4);
    const taken = new Map<number, number>();
    await eventually(40_000, 'six processes have been worn out', async () => {
      for (const { pid, processed } of (await onlyGroup(apache)).processes) taken.set(pid ?? 0, processed);
      return [...taken.values()].filter((count) => count >= 20).length >= 6;
    });
    const result = await load.stop();
    assert.deepEqual(result.failures, []);
    // Those under way when it was full, too.
    const most = Math.max(...taken.values());
    assert.ok(most <= 40 + 4, `${most} requests`);
  },
);

rule('a reload under load replaces three processes, and three serve all the time', {}, async (scene) => {
  const { apache, pids } = await three(scene, '');
  const load = new Load(apache.port, 'a.test', '/pid', 8);
  const watch = new ServingWatch(apache);
  await load.reached(50);
  await apache.graceful();
  await replaced(apache, pids);
  const { least, most } = await watch.stop();
  const result = await load.stop();
  assert.deepEqual(result.failures, []);
  assert.ok(least === 3 && most <= 4, `${least} to ${most} processes served`);
});

rule('a blocking restart under load: nobody fails, everybody waits for the new code', {}, async (scene) => {
  const { apache, app, pids } = await three(scene, '');
  const load = new Load(apache.port, 'a.test', '/slow?ms=20', 8);
  await load.reached(50);
  deploy(app, '2');
  assert.equal((await ask(apache.port, 'a.test', '/version')).text, '2', 'the very next request');
  await replaced(apache, pids);
  assert.deepEqual((await load.stop()).failures, []);
});

rule(
  'an old request that never ends is cut at PassengerDrainTimeout, after a rolling restart too',
  {},
  async (scene) => {
    const { apache, app, pids } = await three(
      scene,
      'PassengerRollingRestarts on\nPassengerDrainTimeout 2\nPassengerShutdownTimeout 2',
    );
    apache.allowLog(/PSG5007|PSG4\d{3}|PSG8\d{3}/);
    const endless = ask(apache.port, 'a.test', '/drip?n=100000&ms=50', { timeoutMs: 30_000 });
    await eventually(5000, 'the request is under way', async () => {
      return (await onlyGroup(apache)).processes.some(({ sessions }) => sessions === 1);
    });
    deploy(app, '2');
    await replaced(apache, pids);
    const answer = await endless;
    assert.equal(answer.complete, false, 'broken off visibly');
    await logLine(apache, /PSG5007/);
    await eventually(5000, 'the old processes are gone', () => !pids.some((pid) => alive(pid)));
  },
);
