/** tmp/restart.txt brings new code without a failed request. */
import assert from 'node:assert/strict';
import {
  chownSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Apache } from '../support/apache.js';
import { giveTo } from '../support/apps.js';
import { eventually } from '../support/eventually.js';
import { openSessions } from './pool-view.js';
import { Load, ask } from './client.js';
import { appPids, logLine, rule, site, type Scene } from './kit.js';

const NOW = { server: 'PassengerStatThrottleRate 0' };

function deploy(app: string, version: string): void {
  writeFileSync(`${app}/version.txt`, version);
  writeFileSync(`${app}/tmp/restart.txt`, '');
  giveTo(`${app}/tmp/restart.txt`, 'psgapp1');
}

rule('touching restart.txt: the very next request runs the new code', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe', '', NOW);
  const version = async (): Promise<string> => (await ask(apache.port, 'a.test', '/version')).text;
  assert.equal(await version(), '1');
  deploy(app, '2');
  assert.equal(await version(), '2');
  assert.equal(await version(), '2');
  const pid = (await ask(apache.port, 'a.test', '/pid')).text;
  assert.equal((await ask(apache.port, 'a.test', '/pid')).text, pid, 'one restart, not one for each request');
  deploy(app, '3');
  assert.equal(await version(), '3');
});

rule('an older time of restart.txt counts as well, its removal does not', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe', '', NOW);
  deploy(app, '1');
  const pid = async (): Promise<string> => (await ask(apache.port, 'a.test', '/pid')).text;
  const first = await pid();
  assert.equal(await pid(), first);
  utimesSync(`${app}/tmp/restart.txt`, 1000, 1000);
  const second = await pid();
  assert.notEqual(second, first);
  unlinkSync(`${app}/tmp/restart.txt`);
  assert.equal(await pid(), second);
});

rule('restart.txt may be a symlink: to touch it is to touch what it leads to', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe', '', NOW);
  const shared = `${dirname(app)}/deployed`;
  writeFileSync(shared, '');
  giveTo(shared, 'psgapp1');
  symlinkSync('../../deployed', `${app}/tmp/restart.txt`);
  const pid = async (): Promise<string> => (await ask(apache.port, 'a.test', '/pid')).text;
  const first = await pid();
  utimesSync(`${app}/tmp/restart.txt`, 1000, 1000);
  const second = await pid();
  assert.notEqual(second, first);
  assert.equal(await pid(), second);
});

rule(
  'requests have restart.txt looked at once in PassengerStatThrottleRate; without a request a timer does',
  {},
  async (scene) => {
    const { apache, app } = await scene.serve('probe', '', { server: 'PassengerStatThrottleRate 3' });
    const old = Number((await ask(apache.port, 'a.test', '/pid')).text);
    deploy(app, '2');
    const answer = await ask(apache.port, 'a.test', '/version');
    assert.equal(answer.text, '1', 'it was looked at a moment ago');
    await eventually(6000, 'another process', () => {
      const pids = appPids(apache, app);
      return pids.length === 1 && !pids.includes(old);
    });
    assert.equal((await ask(apache.port, 'a.test', '/version')).text, '2');
  },
);

rule('a change of restart.txt while the new code starts counts when it has started', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe', '', NOW);
  await ask(apache.port, 'a.test', '/');
  const source = readFileSync(`${app}/app.js`, 'utf8');
  const slowStart = source.replace(
    /^server\.listen\(.*\);$/m,
    (line) => `setTimeout(() => ${line.slice(0, -1)}, 800);`,
  );
  assert.notEqual(slowStart, source);
  writeFileSync(`${app}/app.js`, slowStart);
  deploy(app, '2');
  const second = ask(apache.port, 'a.test', '/version');
  await logLine(apache, /stdout: probe 2 starts/);
  deploy(app, '3');
  assert.equal(
    (await ask(apache.port, 'a.test', '/version')).text,
    '2',
    'the start goes on, and serves who waits',
  );
  assert.equal((await second).text, '2');
  assert.equal((await ask(apache.port, 'a.test', '/version')).text, '3');
});

rule(
  'PassengerRestartDir names another place: in the app, absolute, or beside the app',
  {},
  async (scene) => {
    const app = await scene.app('probe');
    for (const [name, dir] of [
      ['a.test', 'deploy'],
      ['b.test', `${app}-absolute`],
      ['c.test', '../probe-beside'],
    ] as const) {
      const apache = await scene.start({ vhosts: [site(name, app, `PassengerRestartDir ${dir}`)], ...NOW });
      const place = resolve(app, dir);
      mkdirSync(place);
      const before = (await ask(apache.port, name, '/pid')).text;
      writeFileSync(`${place}/restart.txt`, '');
      assert.notEqual((await ask(apache.port, name, '/pid')).text, before, dir);
      await apache.stop();
    }
  },
);

rule('always_restart.txt restarts for each request', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe', '', NOW);
  await ask(apache.port, 'a.test', '/pid');
  writeFileSync(`${app}/tmp/always_restart.txt`, '');
  const pids = new Set<string>();
  for (let turn = 0; turn < 3; turn += 1) pids.add((await ask(apache.port, 'a.test', '/pid')).text);
  assert.equal(pids.size, 3);
  rmSync(`${app}/tmp/always_restart.txt`);
});

rule('restarts under load fail no request', { timeoutMs: 120_000 }, async (scene) => {
  const { apache, app } = await scene.serve('probe', '', NOW);
  await ask(apache.port, 'a.test', '/');
  const load = new Load(apache.port, 'a.test', '/slow?ms=20', 8);
  for (const version of ['2', '3', '4']) {
    deploy(app, version);
    await eventually(15_000, `version ${version} serves`, async () => {
      return (await ask(apache.port, 'a.test', '/version')).text === version;
    });
  }
  await load.reached(100);
  const result = await load.stop();
  assert.deepEqual(result.failures, []);
  assert.ok(result.requests > 16, `${result.requests} requests`);
  await eventually(15_000, 'only the newest process is left', () => appPids(apache, app).length === 1);
});

rule('requests that run during a restart finish on the old process', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe', '', NOW);
  const old = (await ask(apache.port, 'a.test', '/pid')).text;
  const slow = ask(apache.port, 'a.test', '/slow?ms=2000');
  await eventually(2000, 'it is under way', async () => (await openSessions(apache)) === 1);
  deploy(app, '2');
  assert.equal((await ask(apache.port, 'a.test', '/version')).text, '2');
  assert.equal((await slow).text, `slow ${old} 1`);
});

/** As deployment tools lay out an app: `current` is one of the releases, and all of them share their tmp/. */
async function releases(scene: Scene): Promise<{ apache: Apache; current: string; shared: string }> {
  const app = await scene.app('probe');
  const base = dirname(app);
  const [current, shared] = [`${base}/current`, `${base}/shared`];
  rmSync(`${app}/tmp`, { recursive: true });
  mkdirSync(shared, { mode: 0o700 });
  giveTo(shared, 'psgapp1');
  symlinkSync('../shared', `${app}/tmp`);
  symlinkSync('probe', current);
  const apache = await scene.start({ vhosts: [site('a.test', current)], ...NOW });
  return { apache, current, shared };
}

rule(
  'a tmp/ that all releases share is looked into, although it is outside of the app',
  {},
  async (scene) => {
    const { apache, shared } = await releases(scene);
    const pid = async (): Promise<string> => (await ask(apache.port, 'a.test', '/pid')).text;
    const first = await pid();
    writeFileSync(`${shared}/restart.txt`, '');
    const second = await pid();
    assert.notEqual(second, first);
    assert.equal(await pid(), second);
  },
);

rule(
  'a tmp/ that leads where its owner may not look restarts nothing, and the log says so',
  { root: true },
  async (scene) => {
    const { apache, shared } = await releases(scene);
    apache.allowLog(/PSG5009/);
    chownSync(shared, 0, 0);
    const pid = async (): Promise<string> => (await ask(apache.port, 'a.test', '/pid')).text;
    const first = await pid();
    writeFileSync(`${shared}/restart.txt`, '');
    assert.equal(await pid(), first);
    await logLine(apache, /PSG5009/);
  },
);
