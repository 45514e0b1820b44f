/**
 * Restarts that meet each other, starts, reloads and a full pool, under load: nobody's request fails, and the newest code
 * serves in the end. Restarts that nothing disturbs: restart.test.ts, rolling.test.ts.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Apache } from '../support/apache.js';
import { giveTo } from '../support/apps.js';
import { eventually } from '../support/eventually.js';
import { Load, ask } from './client.js';
import { appPids, rule, site, type Scene } from './kit.js';
import { onlyGroup, servingPids } from './pool-view.js';

const NOW = 'PassengerStatThrottleRate 0';
const BODY = { method: 'POST', body: 'x'.repeat(2000) };

function deploy(app: string, version: string): void {
  writeFileSync(`${app}/version.txt`, version);
  writeFileSync(`${app}/tmp/restart.txt`, version);
  giveTo(`${app}/tmp/restart.txt`, 'psgapp1');
}

/** From its next start on the app takes so long to start. */
function slowDown(app: string, ms: number): void {
  const source = readFileSync(`${app}/app.js`, 'utf8');
  const sleep = `Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${ms});`;
  writeFileSync(`${app}/app.js`, source.replace("'use strict';", `'use strict'; ${sleep}`));
}

/** Requests of all kinds, on connections of their own. */
class Loads {
  readonly #all: Load[];
  constructor(port: number, hosts: readonly string[] = ['a.test']) {
    this.#all = hosts.flatMap((host) => [
      new Load(port, host, '/version', 3),
      new Load(port, host, '/slow?ms=30', 3),
      new Load(port, host, '/sha', 2, BODY),
    ]);
  }

  /** Each of them has had so many answers more. */
  async go(count: number): Promise<void> {
    await Promise.all(this.#all.map((load) => load.reached(load.requests + count)));
  }

  async stop(): Promise<void> {
    for (const load of this.#all) assert.deepEqual((await load.stop()).failures, []);
  }
}

async function starting(apache: Apache, count: number): Promise<void> {
  await eventually(10_000, `${count} processes start`, async () => {
    const { processes } = await onlyGroup(apache);
    return processes.filter(({ state }) => state === 'starting').length === count;
  });
}

async function serving(apache: Apache, count: number): Promise<number[]> {
  return eventually(20_000, `${count} processes`, async () => {
    const pids = await servingPids(apache);
    return pids.length === count && (await onlyGroup(apache)).deployment === 'settled' ? pids : undefined;
  });
}

/** All processes that serve run this version, and there are no others. */
async function onlyVersion(apache: Apache, app: string, version: string, count: number): Promise<void> {
  await eventually(30_000, `${count} processes of version ${version}`, async () => {
    if ((await onlyGroup(apache)).deployment !== 'settled' || appPids(apache, app).length !== count)
      return false;
    const asked = Array.from({ length: 2 * count }, () => ask(apache.port, 'a.test', '/version'));
    return (await Promise.all(asked)).every(({ text }) => text === version);
  });
}

async function slowApp(scene: Scene, config: string): Promise<{ apache: Apache; app: string }> {
  const app = await scene.app('probe');
  slowDown(app, 500);
  const apache = await scene.start({ vhosts: [site('a.test', app, config)], server: NOW });
  return { apache, app };
}

for (const kind of ['blocking', 'rolling'] as const) {
  const rolling = `PassengerRollingRestarts ${kind === 'rolling' ? 'on' : 'off'}`;

  rule(`${kind}: restarts during restarts fail no request, and the last one counts`, {}, async (scene) => {
    const { apache, app } = await slowApp(scene, `PassengerMinInstances 2\n${rolling}`);
    await ask(apache.port, 'a.test', '/');
    await serving(apache, 2);
    const loads = new Loads(apache.port);
    await loads.go(10);
    for (const version of ['2', '3', '4']) {
      deploy(app, version);
      await starting(apache, 1);
    }
    await onlyVersion(apache, app, '4', 2);
    await loads.go(10);
    await loads.stop();
  });

  rule(`${kind}: a restart while processes start fails no request`, {}, async (scene) => {
    const { apache, app } = await slowApp(scene, `PassengerMinInstances 3\n${rolling}`);
    const loads = new Loads(apache.port);
    // The first one.
    await eventually(10_000, 'the first start', () => appPids(apache, app).length === 1);
    deploy(app, '2');
    await loads.go(1);
    // The others.
    await starting(apache, kind === 'rolling' ? 1 : 2);
    deploy(app, '3');
    await onlyVersion(apache, app, '3', 3);
    await loads.go(10);
    await loads.stop();
  });
}

rule('apachectl graceful during a rolling restart fails no request', {}, async (scene) => {
  const { apache, app } = await slowApp(scene, 'PassengerMinInstances 3\nPassengerRollingRestarts on');
  await ask(apache.port, 'a.test', '/');
  await serving(apache, 3);
  const loads = new Loads(apache.port);
  await loads.go(10);
  deploy(app, '2');
  await starting(apache, 1);
  apache.kill('SIGUSR1');
  await eventually(10_000, 'the first one is replaced', async () => {
    return (await onlyGroup(apache)).deployment === 'replacing';
  });
  writeFileSync(`${app}/version.txt`, '3');
  apache.kill('SIGUSR1');
  await onlyVersion(apache, app, '3', 3);
  await loads.go(10);
  await loads.stop();
});

rule('restarts of all apps at once in a pool that they fill fail no request', {}, async (scene) => {
  const hosts = ['a.test', 'b.test', 'c.test'];
  const apps = await Promise.all(hosts.map(() => scene.app('probe')));
  const configs = ['PassengerMinInstances 2', 'PassengerRollingRestarts on', ''];
  const apache = await scene.start({
    server: `${NOW}\nPassengerMaxPoolSize 4`,
    vhosts: apps.map((app, index) => site(hosts[index] ?? '', app, configs[index])),
  });
  const processes = (): number[] => apps.map((app) => appPids(apache, app).length);
  const full = async (): Promise<void> => {
    await eventually(20_000, 'a full pool', () => processes().join() === '2,1,1');
  };
  await Promise.all(hosts.map((host) => ask(apache.port, host, '/')));
  await full();
  const loads = new Loads(apache.port, hosts);
  await loads.go(5);
  for (const version of ['2', '3']) {
    for (const app of apps) deploy(app, version);
    for (const host of hosts) {
      await eventually(20_000, `${host} serves version ${version}`, async () => {
        return (await ask(apache.port, host, '/version')).text === version;
      });
    }
    await loads.go(5);
  }
  await full();
  await loads.stop();
});
