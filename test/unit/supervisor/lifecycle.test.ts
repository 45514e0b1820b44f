/** Start, reload, replacement of cores, and the end: what stays and what must not. As root. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { closeFd, pipe } from '../../../core/native.js';
import { eventually } from '../../support/eventually.js';
import { Driver, isGone, makeApp } from './driver.js';
import { allowed, asRoot, COMMAND, GAMES, LOOP, MAN, serving, startApp } from './serving.js';

test('a new core adopts what runs, with its descriptors and what the old one noted', asRoot, async (t) => {
  const driver = await serving(t, allowed);
  const pid = await startApp(
    driver,
    1,
    'while read -r x; do :; done; echo up; sleep 1; while :; do echo alive; sleep 0.1; done\n',
  );
  const first = driver.lines[0]?.hello;
  driver.order({ order: 'exit' });
  const adopted = await driver.told('ADOPT');
  assert.deepEqual(
    [adopted['pid'], adopted['key'], adopted['spawnId'], adopted.fdCount],
    [pid, 'key1', 1, 3],
  );
  assert.equal(Buffer.from((adopted['meta'] as { data: number[] }).data).toString(), 'meta 1');
  const second = driver.lines.findLast((line) => line.hello !== undefined)?.hello;
  assert.notEqual(second, first);
  await eventually(5000, 'output goes to the new core', () =>
    driver.lines.some((line) => line.of === pid && line.output?.includes('alive') === true),
  );
  assert.match(driver.log, /PSG7006 .*exitCode=3/);
  const order = driver.lines
    .slice(driver.lines.findIndex((l) => l.hello === second))
    .map((l) => l.message?.type);
  assert.deepEqual(order.slice(1, 4), ['CORE_CONFIG', 'ADOPT', 'START']);
});

test('a core that blocks, or sends nonsense, is replaced', asRoot, async (t) => {
  const driver = await serving(t);
  const hellos = (): number => driver.lines.filter((line) => line.hello !== undefined).length;
  driver.order({ order: 'garbage' });
  await eventually(5000, 'second core', () => hellos() === 2);
  await eventually(5000, 'second core serves', () => driver.fromSupervisor.length === 2);
  assert.match(driver.log, /PSG7002/);
  driver.order({ order: 'hang' });
  await eventually(12_000, 'third core', () => hellos() === 3);
  assert.match(driver.log, /PSG7007/);
  assert.match(driver.log, /PSG7006 .*signal=SIGABRT/);
});

test('a reload gives the new configuration and error log to supervisor and core', asRoot, async (t) => {
  const driver = await serving(t);
  const [read, write] = pipe();
  t.after(() => closeFd(read));
  driver.configure(2, [write], { privileged: [['PassengerAppStartCommand', COMMAND]] });
  closeFd(write);
  await driver.started(2);
  const told = await driver.told('CORE_CONFIG', (m) => m['generation'] === 2);
  assert.equal(told.fdCount, 1);
  await startApp(driver, 1, LOOP);
  const target = fs.readlinkSync(`/proc/${driver.pid}/fd/2`);
  assert.equal(target, fs.readlinkSync(`/proc/self/fd/${read}`));
  driver.configure(3, [], { instanceDir: '/run/elsewhere' });
  await eventually(2000, 'refused', () =>
    driver.fromSupervisor.some((m) => m.type === 'FAILED' && m.code === 'PSG7024'),
  );
});

test('when Apache goes, everything ends and nothing stays', asRoot, async (t) => {
  const driver = await serving(t, allowed);
  const polite = await startApp(driver, 1, LOOP);
  const stubborn = await startApp(driver, 2, 'trap "" TERM; echo up; while :; do sleep 1; done\n', MAN);
  await driver.output(stubborn, /up/);
  driver.closeControl();
  await driver.exited();
  assert.ok(isGone(polite) && isGone(stubborn), 'apps');
  assert.ok(isGone(driver.lines[0]?.hello ?? 0), 'core');
  assert.equal(fs.existsSync(driver.instanceDir), false);
  assert.match(driver.log, /PSG7022 .*processes=1/);
  assert.equal(driver.child.exitCode, 0);
});

test(
  'when the supervisor is killed, core and apps end by themselves and the next one cleans up',
  asRoot,
  async (t) => {
    const driver = await serving(t, allowed);
    const pid = await startApp(driver, 1, 'trap "" TERM; echo up; while :; do sleep 1; done\n');
    await driver.output(pid, /up/);
    driver.child.kill('SIGKILL');
    await driver.exited();
    await eventually(
      3000,
      'app and core have gone',
      () => isGone(pid) && isGone(driver.lines[0]?.hello ?? 0),
    );
    assert.equal(fs.existsSync(path.join(driver.instanceDir, 'apps', 'key1.sock')), true);
    const next = await serving(t, { after: driver });
    assert.equal(next.instanceDir, driver.instanceDir);
    assert.deepEqual(fs.readdirSync(path.join(driver.instanceDir, 'apps')), []);
    assert.deepEqual(fs.readdirSync(path.join(driver.instanceDir, 'core.d')).sort(), [
      'admin.sock',
      'core.sock',
    ]);
  },
);

test(
  'an installation that the core cannot read stops the start and names the directory',
  asRoot,
  async (t) => {
    const driver = await Driver.start({ installMode: 0o700 });
    t.after(() => driver.end());
    driver.configure(1);
    await driver.exited();
    assert.match(driver.log, new RegExp(`PSG7004 .*path=${driver.root} mode=0700`));
    assert.ok(driver.fromSupervisor.some((m) => m.type === 'FAILED' && m.code === 'PSG7004'));
  },
);

test('an instance directory that somebody else prepared is refused', asRoot, async (t) => {
  for (const prepare of [
    (dir: string): void => fs.symlinkSync('/etc', dir),
    (dir: string): void => fs.writeFileSync(dir, ''),
    (dir: string): void => {
      fs.mkdirSync(dir);
      fs.chownSync(dir, MAN, MAN);
    },
  ]) {
    const driver = await Driver.start();
    t.after(() => driver.end());
    prepare(driver.instanceDir);
    driver.configure(1);
    await driver.exited();
    assert.match(driver.log, /PSG7003/);
    assert.equal(fs.statSync('/etc').uid, 0);
  }
});

test('a core with the rights of root is refused', asRoot, async (t) => {
  const driver = await Driver.start({ coreUid: 0 });
  t.after(() => driver.end());
  driver.configure(1);
  await driver.exited();
  assert.match(driver.log, /PSG7009/);
  assert.equal(driver.child.exitCode, 78);
});

test('without root everything runs as one user', asRoot, async (t) => {
  const driver = await serving(t, { asUid: GAMES, privileged: [['PassengerUser', 'man']] });
  assert.match(driver.log, /PSG7018/);
  const appRoot = makeApp(driver.base, MAN, 'server.js', 'console.log("uid", process.getuid());');
  driver.spawn(1, {
    kind: 'node',
    appRoot,
    startupFile: 'server.js',
    referenceFile: 'server.js',
    user: 'man',
  });
  const pid = (await driver.told('SPAWNED'))['pid'];
  assert.match(await driver.output(pid, /uid/), /uid 5/);
  assert.equal(driver.lines[0]?.uid, GAMES);
});

test('cores that end again and again are started with pauses', asRoot, async (t) => {
  const driver = await serving(t);
  const hellos = (): number => driver.lines.filter((line) => line.hello !== undefined).length;
  for (let round = 1; round <= 5; round += 1) {
    await eventually(
      5000,
      `core ${round}`,
      () => hellos() === round && driver.fromSupervisor.length === round,
    );
    driver.order({ order: 'exit' });
  }
  await eventually(5000, 'a pause', () => driver.log.includes('PSG7008'));
  assert.equal(hellos(), 5);
  await eventually(5000, 'sixth core', () => hellos() === 6);
});

/**
 * What is the process's alone, in KiB. Clean pages of node's own file count as shared: core and apps run the same
 * file, and which of its pages nobody else has touched yet depends on what else runs (1.5 MB when nothing does).
 */
function privateMemory(pid: number): number {
  let ofNode = false;
  let sum = 0;
  for (const line of fs.readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) ofNode = line.endsWith(process.execPath);
    const [, kind, kib] = /^Private_(\w+): +(\d+) kB$/.exec(line) ?? [];
    if (kind === 'Dirty' || (kind === 'Clean' && !ofNode)) sum += Number(kib);
  }
  return sum;
}

test('the supervisor stays within its memory, with the options of the README', asRoot, async (t) => {
  const readme = fs.readFileSync(path.join(__dirname, '../../../core/supervisor/README.md'), 'utf8');
  const flags = /^SUPERVISOR_NODE_FLAGS="(.*)"$/m.exec(readme)?.[1]?.split(' ');
  assert.ok(flags !== undefined);
  const driver = await serving(t, { flags });
  assert.doesNotMatch(driver.log, /Warning/);
  const privateKib = privateMemory(driver.pid);
  assert.ok(privateKib > 1000 && privateKib <= 12 * 1024, `${privateKib} KiB private`);
});
