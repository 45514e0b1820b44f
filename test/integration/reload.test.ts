/** `apachectl graceful` redeploys without a failed request; stopping leaves nothing; every kind of ErrorLog works. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { assertWithin } from '../support/patience.js';
import { openSessions } from './pool-view.js';
import { Load, ask } from './client.js';
import { alive, appPids, corePid, logLine, rule, site, supervisorPid } from './kit.js';

async function newVersion(apache: Apache, app: string, version: string): Promise<void> {
  writeFileSync(`${app}/version.txt`, version);
  await apache.graceful();
  await eventually(20_000, `version ${version} serves`, async () => {
    return (await ask(apache.port, 'a.test', '/version')).text === version;
  });
}

/** Changes httpd.conf of the running server; the next reload reads it. */
function edit(apache: Apache, from: string, to: string): void {
  const file = `${apache.dir}/httpd.conf`;
  const before = readFileSync(file, 'utf8');
  assert.ok(before.includes(from));
  writeFileSync(file, before.replaceAll(from, to));
}

rule('a graceful reload brings the new code; supervisor and core stay', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe');
  assert.equal((await ask(apache.port, 'a.test', '/version')).text, '1');
  const before = { core: corePid(apache), supervisor: supervisorPid(apache), dir: apache.instanceDir() };
  await newVersion(apache, app, '2');
  assert.deepEqual(
    { core: corePid(apache), supervisor: supervisorPid(apache), dir: apache.instanceDir() },
    before,
  );
  await eventually(15_000, 'the old process is gone', () => appPids(apache, app).length === 1);
});

rule('a graceful reload under load fails no request', { timeoutMs: 120_000 }, async (scene) => {
  const { apache, app } = await scene.serve('probe');
  await ask(apache.port, 'a.test', '/');
  const load = new Load(apache.port, 'a.test', '/slow?ms=10', 8);
  await newVersion(apache, app, '2');
  await load.reached(100);
  const result = await load.stop();
  assert.deepEqual(result.failures, []);
  assert.ok(result.requests > 20, `${result.requests} requests`);
});

rule(
  'five reloads in a row under load fail no request and pile up no process',
  { timeoutMs: 180_000 },
  async (scene) => {
    const { apache, app } = await scene.serve('probe');
    await ask(apache.port, 'a.test', '/');
    const load = new Load(apache.port, 'a.test', '/slow?ms=10', 4);
    for (let turn = 2; turn <= 6; turn += 1) await newVersion(apache, app, String(turn));
    const result = await load.stop();
    assert.deepEqual(result.failures, []);
    await eventually(30_000, 'one process is left', () => appPids(apache, app).length === 1);
    assert.equal(apache.processes().length, 3);
  },
);

rule('a reload has no cold start: requests during it are answered by the old process', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe');
  await ask(apache.port, 'a.test', '/');
  // New code that takes its time to start.
  const source = readFileSync(`${app}/app.js`, 'utf8');
  writeFileSync(
    `${app}/app.js`,
    source.replace(
      'const VERSION',
      'const wake = Date.now() + 2500; while (Date.now() < wake);\nconst VERSION',
    ),
  );
  writeFileSync(`${app}/version.txt`, '2');
  await apache.graceful();
  const begun = performance.now();
  const answer = await ask(apache.port, 'a.test', '/version');
  assert.equal(answer.status, 200);
  assert.ok(performance.now() - begun < 1500, 'no wait for the new process');
  await eventually(
    20_000,
    'version 2',
    async () => (await ask(apache.port, 'a.test', '/version')).text === '2',
  );
});

rule('a long request survives the reload', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe');
  await ask(apache.port, 'a.test', '/');
  const slow = ask(apache.port, 'a.test', '/slow?ms=3000');
  await eventually(3000, 'it is under way', async () => (await openSessions(apache)) === 1);
  await newVersion(apache, app, '2');
  const answer = await slow;
  assert.equal(answer.status, 200, answer.failure);
  assert.match(answer.text, / 1$/);
});

rule('settings that changed count after the reload', {}, async (scene) => {
  const { apache } = await scene.serve('probe', 'SetEnv COLOUR blue\nPassengerAppEnv staging');
  const env = async (): Promise<Record<string, string>> =>
    (await ask(apache.port, 'a.test', '/env')).json<Record<string, string>>();
  assert.equal((await env())['COLOUR'], 'blue');
  edit(apache, 'SetEnv COLOUR blue', 'SetEnv COLOUR green');
  await apache.graceful();
  await eventually(20_000, 'the new value', async () => (await env())['COLOUR'] === 'green');
  await eventually(20_000, 'the old group is gone', () => appPids(apache).length === 1);
});

rule('limits that a reload has lowered or raised hold with its first request', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe', 'PassengerMinInstances 4\nPassengerMaxInstances 0');
  const settles = async (count: number): Promise<void> => {
    await ask(apache.port, 'a.test', '/');
    await eventually(20_000, `${count} processes`, () => appPids(apache, app).length === count);
  };
  await settles(4);
  edit(apache, 'PassengerMaxInstances 0', 'PassengerMaxInstances 2');
  await apache.graceful();
  await settles(2);
  edit(apache, 'PassengerMaxInstances 2', 'PassengerMaxInstances 3');
  await apache.graceful();
  await settles(3);
});

rule('a broken configuration: the reload is refused and the old one keeps serving', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  await ask(apache.port, 'a.test', '/');
  edit(apache, 'PassengerInstanceRegistryDir', 'PassengerMaxPoolSize many\nPassengerInstanceRegistryDir');
  const test = apache.run(['-t']);
  assert.notEqual(test.status, 0);
  assert.match(test.output, /PassengerMaxPoolSize/);
  assert.match(test.output, /httpd\.conf/);
  assert.match(test.output, /line \d+/);
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
});

rule('a reload after which an app cannot start leaves the old processes serving', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe', 'PassengerResistDeploymentErrors on');
  await ask(apache.port, 'a.test', '/');
  apache.allowLog(/PSG\d{4}|App \d+ std/);
  const source = readFileSync(`${app}/app.js`, 'utf8');
  writeFileSync(`${app}/app.js`, 'throw new Error("a bad deployment")');
  await apache.graceful();
  await logLine(apache, /a bad deployment/, 20_000);
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
  writeFileSync(`${app}/app.js`, source);
});

rule('stopping leaves no process and no directory, also with a request that hangs', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  await ask(apache.port, 'a.test', '/');
  const hanging = ask(apache.port, 'a.test', '/hang');
  await eventually(3000, 'it is under way', async () => (await openSessions(apache)) === 1);
  const processes = apache.processes();
  const dir = apache.instanceDir();
  const begun = performance.now();
  await apache.stop();
  assertWithin(begun, 15_000, 'the stop');
  for (const { pid, title } of processes) assert.ok(!alive(pid), title);
  assert.ok(!existsSync(dir));
  await hanging;
});

rule('kill -9 of Apache’s parent leaves nothing of ours', { root: true }, async (scene) => {
  const { apache } = await scene.serve('probe');
  await ask(apache.port, 'a.test', '/');
  const processes = apache.processes();
  const dir = apache.instanceDir();
  assert.equal(processes.length, 3);
  apache.kill('SIGKILL');
  await eventually(20_000, 'our processes are gone', () => !processes.some(({ pid }) => alive(pid)));
  await eventually(5000, 'the instance directory is gone', () => !existsSync(dir));
});

for (const [kind, errorLog] of [
  ['a pipe without shell', '"|/usr/bin/tee -a $DIR/error.log"'],
  ['a pipe through the shell', '"|$/bin/cat >> $DIR/error.log"'],
  ['syslog', 'syslog:local7'],
] as const) {
  rule(`ErrorLog as ${kind} works`, {}, async (scene) => {
    const app = await scene.app('probe');
    const apache = await scene.start({
      vhosts: [site('a.test', app)],
      // `$DIR` is the harness's; `|$` is httpd's word for a pipe through the shell.
      errorLog,
    });
    assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
    await ask(apache.port, 'a.test', '/log?line=through-the-log');
    if (kind !== 'syslog') await logLine(apache, /stdout: through-the-log on stdout/);
    await apache.graceful();
    await eventually(15_000, 'the app answers after the reload', async () => {
      return (await ask(apache.port, 'a.test', '/')).status === 200;
    });
  });
}
