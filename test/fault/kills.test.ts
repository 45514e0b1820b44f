/** kill -9 of each process in turn, DESIGN §7: what users of the site see and how fast it is over. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../core/cli/installation.js';
import { makeTemporaryDirectory } from '../../core/cli/staged-root.js';
import { eventually } from '../support/eventually.js';
import { assertWithin } from '../support/patience.js';
import { Load, ask } from '../integration/client.js';
import { alive, apacheChildren, appPids, corePid, logLine, rule, supervisorPid } from '../integration/kit.js';

rule(
  'kill -9 of the core: apps keep their pids, the next request is served',
  { root: true },
  async (scene) => {
    const { apache, app } = await scene.serve('probe');
    await ask(apache.port, 'a.test', '/');
    apache.allowLog(/PSG\d{4}/);
    const core = corePid(apache);
    const before = appPids(apache, app);
    process.kill(core, 'SIGKILL');
    const begun = performance.now();
    const answer = await ask(apache.port, 'a.test', '/pid');
    assert.equal(answer.status, 200, answer.text);
    assertWithin(begun, 5000, 'the next answer');
    assert.equal(Number(answer.text), before[0], 'the same app process answers');
    assert.deepEqual(appPids(apache, app), before);
    assert.notEqual(corePid(apache), core);
  },
);

rule(
  'kill -9 of the core with requests in flight: they end visibly, later ones are served',
  { root: true },
  async (scene) => {
    const { apache } = await scene.serve('probe');
    await ask(apache.port, 'a.test', '/');
    apache.allowLog(/PSG\d{4}/);
    const flying = Array.from({ length: 8 }, (_, index) =>
      ask(apache.port, 'a.test', '/slow?ms=1500', index % 2 === 0 ? {} : { body: 'posted' }),
    );
    let begun = false;
    const streaming = ask(apache.port, 'a.test', '/drip?n=100&ms=50', { onData: () => (begun = true) });
    await eventually(5000, 'the answer drips', () => begun);
    process.kill(corePid(apache), 'SIGKILL');
    for (const answer of await Promise.all(flying)) {
      assert.ok([200, 502, 503].includes(answer.status), `${answer.status} ${answer.failure}`);
    }
    assert.equal((await streaming).complete, false, 'a body that was cut never looks complete');
    assert.equal((await ask(apache.port, 'a.test', '/')).status, 200);
  },
);

rule(
  'the core killed five times: apps still keep their pids',
  { root: true, timeoutMs: 120_000 },
  async (scene) => {
    const { apache, app } = await scene.serve('probe');
    await ask(apache.port, 'a.test', '/');
    apache.allowLog(/PSG\d{4}/);
    const before = appPids(apache, app);
    for (let turn = 0; turn < 5; turn += 1) {
      process.kill(corePid(apache), 'SIGKILL');
      await eventually(
        15_000,
        'an answer',
        async () => (await ask(apache.port, 'a.test', '/')).status === 200,
      );
    }
    assert.deepEqual(appPids(apache, app), before);
  },
);

rule(
  'a core that is frozen answers 503 soon and is replaced',
  { root: true, timeoutMs: 120_000 },
  async (scene) => {
    const { apache, app } = await scene.serve('probe');
    await ask(apache.port, 'a.test', '/');
    apache.allowLog(/PSG\d{4}|exit signal/);
    const before = appPids(apache, app);
    const core = corePid(apache);
    process.kill(core, 'SIGSTOP');
    const begun = performance.now();
    const answer = await ask(apache.port, 'a.test', '/');
    assertWithin(begun, 6000, 'the answer');
    assert.ok(answer.status === 503 || answer.status === 200, `${answer.status}`);
    await eventually(20_000, 'another core', () => !alive(core));
    await eventually(10_000, 'service', async () => (await ask(apache.port, 'a.test', '/')).status === 200);
    assert.deepEqual(appPids(apache, app), before);
  },
);

rule('kill -9 of the supervisor: the site is back within ten seconds', { root: true }, async (scene) => {
  const { apache } = await scene.serve('probe');
  await ask(apache.port, 'a.test', '/');
  apache.allowLog(/PSG\d{4}/);
  const before = apache.processes();
  const supervisor = supervisorPid(apache);
  process.kill(supervisor, 'SIGKILL');
  await eventually(10_000, 'service', async () => {
    const answer = await ask(apache.port, 'a.test', '/', { timeoutMs: 8000 });
    return answer.status === 200 && answer.text === 'hello, probe';
  });
  await eventually(15_000, 'the old core and apps are gone', () => !before.some(({ pid }) => alive(pid)));
  assert.notEqual(supervisorPid(apache), supervisor);
  assert.ok(existsSync(`${apache.instanceDir()}/core.d/core.sock`));
});

rule(
  'kill -9 of an Apache child: its requests are aborted in the app, others go on',
  { root: true },
  async (scene) => {
    const { apache } = await scene.serve('probe');
    await ask(apache.port, 'a.test', '/');
    apache.allowLog(/AH00051|AH00052|exit signal|PSG[34]\d{3}/);
    const hanging = ask(apache.port, 'a.test', '/hang');
    const [child = 0] = apacheChildren(apache);
    const children = apacheChildren(apache);
    await eventually(5000, 'the app has the request', async () => {
      return (await ask(apache.port, 'a.test', '/aborted')).json<{ state: string }>().state === 'hanging';
    });
    for (const pid of children.length > 1 ? children : [child]) process.kill(pid, 'SIGKILL');
    assert.equal((await hanging).status, 0, 'connection reset');
    await eventually(10_000, 'service', async () => (await ask(apache.port, 'a.test', '/')).status === 200);
    await eventually(2000, 'the app was told', async () => {
      return (await ask(apache.port, 'a.test', '/aborted')).json<{ state: string }>().state === 'aborted';
    });
  },
);

rule('kill -9 of an app under load: at most its own requests fail', { root: true }, async (scene) => {
  const { apache, app } = await scene.serve('probe', 'PassengerMinInstances 2', {
    server: 'PassengerMaxPoolSize 3',
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
});

rule('the frozen app of one site does not disturb the other', { root: true }, async (scene) => {
  const { apache, app } = await scene.serve('probe', '', { server: 'Timeout 2' });
  await ask(apache.port, 'a.test', '/');
  apache.allowLog(/PSG\d{4}/);
  const [pid = 0] = appPids(apache, app);
  process.kill(pid, 'SIGSTOP');
  try {
    const answer = await ask(apache.port, 'a.test', '/', { timeoutMs: 10_000 });
    assert.equal(answer.status, 504, answer.failure);
    assert.equal((await ask(apache.port, 'a.test', '/file.txt')).status, 200);
  } finally {
    if (alive(pid)) process.kill(pid, 'SIGCONT');
  }
});

/** The installation under test, with a core that ends at once. */
function brokenInstallation(): string {
  const good = process.env['PSG_TEST_ROOT'] ?? ROOT;
  const root = makeTemporaryDirectory('psg-broken-');
  mkdirSync(join(root, 'dist/core'), { recursive: true });
  for (const name of readdirSync(good).filter((entry) => entry !== 'dist'))
    symlinkSync(join(good, name), join(root, name));
  for (const name of readdirSync(join(good, 'dist/core')).filter((entry) => entry !== 'core.js'))
    symlinkSync(join(good, 'dist/core', name), join(root, 'dist/core', name));
  writeFileSync(join(root, 'dist/core/core.js'), 'process.exit(3);\n');
  return root;
}

rule('a core that cannot start: 503, never the source of the app', { root: true }, async (scene) => {
  const app = await scene.app('probe');
  const broken = brokenInstallation();
  try {
    const apache = await scene.start({
      server: `PassengerRoot ${broken}`,
      coreless: true,
      vhosts: [{ name: 'a.test', documentRoot: `${app}/public` }],
    });
    apache.allowLog(/PSG\d{4}|passenger/);
    const answer = await ask(apache.port, 'a.test', '/', { timeoutMs: 15_000 });
    assert.equal(answer.status, 503, answer.text);
    assert.notEqual(answer.headers['retry-after'], undefined);
    assert.equal((await ask(apache.port, 'a.test', '/file.txt')).status, 200, 'static files are served');
    await logLine(apache, /PSG7\d{3}/);
  } finally {
    rmSync(broken, { recursive: true });
  }
});
