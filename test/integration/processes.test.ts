/** The life of app processes: start, count, crash, failure to start, output. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { eventually, neverWithin } from '../support/eventually.js';
import { patience } from '../support/patience.js';
import { Load, ask } from './client.js';
import { alive, appPids, corePid, logLine, rule, site, supervisorPid } from './kit.js';

rule('one process at first, started by the first request', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe');
  assert.equal(appPids(apache).length, 0);
  await Promise.all(Array.from({ length: 10 }, () => ask(apache.port, 'a.test', '/')));
  assert.equal(appPids(apache, app).length, 1);
});

rule('MinInstances is kept: a process that dies is replaced without a request', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe', 'PassengerMinInstances 2');
  await ask(apache.port, 'a.test', '/');
  await eventually(10_000, 'two processes', () => appPids(apache, app).length === 2);
  const [victim = 0] = appPids(apache, app);
  apache.allowLog(/PSG5\d{3}|PSG6\d{3}/);
  process.kill(victim, 'SIGKILL');
  await eventually(
    10_000,
    'two processes again',
    () => appPids(apache, app).filter((pid) => pid !== victim).length === 2,
  );
});

rule('a crash: its own request gets 502, the next ones are served by a new process', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const before = (await ask(apache.port, 'a.test', '/pid')).text;
  apache.allowLog(/PSG\d{4}|App \d+ stderr/);
  const crashed = await ask(apache.port, 'a.test', '/crash', { method: 'POST', body: 'x' });
  assert.equal(crashed.status, 502);
  const after = await ask(apache.port, 'a.test', '/pid');
  assert.equal(after.status, 200);
  assert.notEqual(after.text, before);
  await logLine(apache, /App \d+ stderr: .*the probe was told to crash/);
});

rule('kill -9 of an idle process: the next request is served', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const pid = Number((await ask(apache.port, 'a.test', '/pid')).text);
  apache.allowLog(/PSG\d{4}/);
  process.kill(pid, 'SIGKILL');
  const answer = await ask(apache.port, 'a.test', '/pid');
  assert.equal(answer.status, 200);
  assert.notEqual(Number(answer.text), pid);
});

rule(
  'a process that takes no connections any more: requests go to another, and it is replaced',
  {},
  async (scene) => {
    const { apache, app } = await scene.serve('probe');
    const pid = Number((await ask(apache.port, 'a.test', '/pid')).text);
    apache.allowLog(/PSG5011/);
    assert.equal((await ask(apache.port, 'a.test', '/stop-listening')).text, 'deaf');
    await eventually(5000, 'another process answers', async () => {
      const answer = await ask(apache.port, 'a.test', '/pid');
      assert.equal(answer.status, 200, answer.text);
      return Number(answer.text) !== pid;
    });
    await logLine(apache, /PSG5011/);
    await eventually(5000, 'it is gone', () => !alive(pid) && appPids(apache, app).length === 1);
  },
);

rule('start failure in production: a number and one safe sentence, nothing of the app', {}, async (scene) => {
  const { apache, app } = await scene.serve('broken');
  apache.allowLog(/PSG\d{4}|App \d+ std/);
  const answer = await ask(apache.port, 'a.test', '/');
  assert.equal(answer.status, 500);
  assert.match(answer.text, /PSG6\d{3}/);
  assert.doesNotMatch(answer.text, /database of the broken app|connectToDatabase/);
  assert.ok(!answer.text.includes(app), 'no path');
  assert.match(String(answer.headers['cache-control']), /no-store|no-cache/);
  await logLine(apache, /the database of the broken app is away/);
  await logLine(apache, /App \d+ stdout: broken says: about to fail/);
  await logLine(apache, /App \d+ stderr: broken complains: nothing configured/);
  assert.equal(
    (await ask(apache.port, 'a.test', '/file.txt')).status,
    200,
    'static files are served all the same',
  );
});

rule('start failure in development: the page shows what happened', {}, async (scene) => {
  const { apache } = await scene.serve('broken', 'PassengerAppEnv development');
  apache.allowLog(/PSG\d{4}|App \d+ std/);
  const answer = await ask(apache.port, 'a.test', '/', { headers: { Accept: 'text/html' } });
  assert.equal(answer.status, 500);
  assert.match(answer.text, /PSG6\d{3}/);
  assert.match(answer.text, /the database of the broken app is away/);
  assert.match(answer.text, /connectToDatabase/);
});

rule('PassengerFriendlyErrorPages on shows details in production too, off hides them', {}, async (scene) => {
  const app = await scene.app('broken');
  const apache = await scene.start({
    vhosts: [
      site('a.test', app, 'PassengerFriendlyErrorPages on'),
      site('b.test', app, 'PassengerAppEnv development\nPassengerFriendlyErrorPages off'),
    ],
  });
  apache.allowLog(/PSG\d{4}|App \d+ std/);
  assert.match((await ask(apache.port, 'a.test', '/')).text, /database of the broken app/);
  assert.doesNotMatch((await ask(apache.port, 'b.test', '/')).text, /database of the broken app/);
});

rule('an app that never listens is stopped after PassengerStartTimeout', {}, async (scene) => {
  const { apache } = await scene.serve('silent', 'PassengerStartTimeout 2');
  apache.allowLog(/PSG\d{4}/);
  const begun = performance.now();
  const answer = await ask(apache.port, 'a.test', '/');
  const took = performance.now() - begun;
  assert.equal(answer.status, 500, answer.text);
  assert.ok(took > 1800 && took < patience(6000), `${took} ms`);
  await logLine(apache, /PSG5003 .*error=PSG6004/);
  await eventually(15_000, 'the process is gone', () => appPids(apache).length === 0);
});

rule('a start that fails again and again backs off', {}, async (scene) => {
  const { apache } = await scene.serve('broken');
  apache.allowLog(/PSG\d{4}|App \d+ std/);
  const load = new Load(apache.port, 'a.test', '/', 4);
  await new Promise((turn) => setTimeout(turn, 4000));
  await load.stop();
  const starts = apache.log().match(/broken says: about to fail/g)?.length ?? 0;
  assert.ok(starts >= 1 && starts <= 8, `${starts} starts within four seconds`);
});

rule('an app that starts and dies over and over does not eat the machine', {}, async (scene) => {
  const { apache } = await scene.serve('storm', 'PassengerMinInstances 1');
  apache.allowLog(/PSG\d{4}/);
  await ask(apache.port, 'a.test', '/');
  const pids = new Set<number>();
  await neverWithin(6000, 'more than ten starts', () => {
    for (const pid of appPids(apache)) pids.add(pid);
    return pids.size > 10;
  });
  assert.ok(pids.size >= 1);
});

rule('output of the app stands in the error log line by line', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const pid = (await ask(apache.port, 'a.test', '/pid')).text;
  await ask(apache.port, 'a.test', '/log?line=marker-17');
  await logLine(apache, new RegExp(`App ${pid} stdout: marker-17 on stdout`));
  await logLine(apache, new RegExp(`App ${pid} stderr: marker-17 on stderr`));
  await ask(apache.port, 'a.test', '/close-output');
  assert.equal((await ask(apache.port, 'a.test', '/pid')).text, pid, 'an app without outputs keeps working');
});

rule('process titles are as Passenger’s users know them', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe');
  await ask(apache.port, 'a.test', '/');
  const titles = apache.processes().map((process) => process.title.trim());
  assert.deepEqual(
    titles.sort(),
    ['Passenger core', `Passenger NodeApp: ${app}`, 'Passenger supervisor'].sort(),
  );
});

rule('an app that exits by itself is replaced on demand', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const pid = Number((await ask(apache.port, 'a.test', '/pid')).text);
  apache.allowLog(/PSG\d{4}/);
  assert.equal((await ask(apache.port, 'a.test', '/exit')).text, 'going');
  await eventually(5000, 'the process is gone', () => !alive(pid));
  assert.equal((await ask(apache.port, 'a.test', '/')).status, 200);
});

rule(
  'the core may have 262,144 descriptors whatever Apache has; supervisor and apps keep their limits',
  { root: true },
  async (scene) => {
    const { apache } = await scene.serve('probe');
    await ask(apache.port, 'a.test', '/');
    const limit = (pid: number): string =>
      /^Max open files\s+(\d+)\s+(\d+)/m
        .exec(readFileSync(`/proc/${pid}/limits`, 'latin1'))
        ?.slice(1)
        .join(' ') ?? '';
    const mayRaise = spawnSync('prlimit', ['--nofile=262144:262144', 'true']).status === 0;
    const [, hard = ''] = limit(supervisorPid(apache)).split(' ');
    const expected = Math.max(Number(hard), mayRaise ? 262_144 : 0);
    assert.equal(limit(corePid(apache)), `${expected} ${expected}`);
    for (const pid of appPids(apache)) assert.equal(limit(pid).split(' ')[1], hard);
  },
);
