/** How apps are started, stopped and asked about: real processes, as root, with Debian's own users. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { eventually } from '../../support/eventually.js';
import { isGone, makeApp, processStatus } from './driver.js';
import { allowed, asRoot, COMMAND, GAMES, LOOP, serving, startApp } from './serving.js';

test('sockets and directories belong to the core and are closed to everybody else', asRoot, async (t) => {
  const driver = await serving(t);
  const facts = (name: string): [number, number, number] => {
    const { uid, gid, mode } = fs.lstatSync(path.join(driver.instanceDir, name));
    return [uid, gid, mode & 0o7777];
  };
  assert.deepEqual(facts('.'), [0, 0, 0o755]);
  assert.deepEqual(facts('core.d'), [33, 33, 0o700]);
  assert.deepEqual(facts('apps'), [33, 33, 0o700]);
  assert.deepEqual(facts('core.d/core.sock'), [33, 33, 0o600]);
  assert.deepEqual(facts('core.d/admin.sock'), [33, 33, 0o600]);
  assert.deepEqual(facts('loaders/preload.cjs'), [0, 0, 0o644]);
  const core = driver.lines[0];
  assert.equal(core?.uid, 33);
  assert.equal(core?.gid, 33);
  assert.deepEqual(core?.env?.sort(), ['LANG', 'PASSENGER_ROOT', 'PATH']);
  assert.match(fs.readFileSync(`/proc/${driver.pid}/cmdline`, 'utf8'), /^Passenger supervisor/);
});

test('an app gets its own identity and nothing of ours', asRoot, async (t) => {
  const driver = await serving(t, allowed);
  const script = `cat /proc/self/status
ls -l /proc/self/fd | awk '{print "fd " $9 " " $11}'
echo umask=$(umask) cwd=$(/bin/pwd) pid=$$; cat /proc/self/limits | grep core; env | sed 's/^/env /'; sleep 1000\n`;
  const pid = await startApp(driver, 1, script);
  const text = await driver.output(pid, /env PWD=/);
  assert.match(text, /^Uid:\t5\t5\t5\t5$/m);
  assert.match(text, /^Gid:\t60\t60\t60\t60$/m);
  assert.match(text, /^Groups:\t60 $/m);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
    assert.match(text, new RegExp(`^${set}:\t0000000000000000$`, 'm'));
  }
  assert.match(text, /^NoNewPrivs:\t1$/m);
  assert.match(text, /^SigIgn:\t0000000000000000$/m);
  assert.match(text, /^SigBlk:\t0000000000000000$/m);
  const fds = [...text.matchAll(/^fd (\d+) (\S+)$/gm)].map(([, number]) => number);
  // The sixth is the directory that ls itself reads.
  assert.deepEqual(fds.slice(0, 5), ['0', '1', '2', '3', '4']);
  assert.ok(fds.length <= 6, `descriptors ${fds.join(' ')}`);
  assert.match(text, /umask=0022/);
  assert.match(text, /Max core file size +0 /);
  assert.match(text, new RegExp(`pid=${pid}`));
  assert.match(text, new RegExp(`env LISTEN_PID=${pid}`));
  const names = [...text.matchAll(/^env ([A-Z_]+)=/gm)].map(([, name]) => name).sort();
  assert.deepEqual(names, [
    'GIVEN',
    'HOME',
    'LISTEN_FDS',
    'LISTEN_PID',
    'LOGNAME',
    'PATH',
    'PWD',
    'SHELL',
    'USER',
  ]);
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ');
  assert.equal(stat?.[2], String(pid), 'own process group');
  assert.equal(stat?.[3], String(pid), 'own session');
  assert.equal(fs.readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8').trim(), '0');
  const socket = fs.lstatSync(path.join(driver.instanceDir, 'apps', 'key1.sock'));
  assert.deepEqual([socket.uid, socket.mode & 0o7777], [33, 0o600]);
});

test('a node app runs its startup file as the true main module behind the preload', asRoot, async (t) => {
  const driver = await serving(t);
  const script =
    'console.log("main", require.main === module, globalThis.preloaded, process.argv[1], process.getuid());';
  const appRoot = makeApp(driver.base, GAMES, 'server.js', script);
  fs.symlinkSync(appRoot, path.join(driver.base, 'current'));
  const current = path.join(driver.base, 'current');
  driver.spawn(1, { kind: 'node', appRoot: current, startupFile: 'server.js', referenceFile: 'server.js' });
  const pid = (await driver.told('SPAWNED'))['pid'];
  const text = await driver.output(pid, /main/);
  assert.equal(text.trim(), `main true true ${fs.realpathSync(appRoot)}/server.js 5`);
  const exited = await driver.told('EXITED');
  assert.deepEqual([exited['pid'], exited['code'], exited['signal']], [pid, 0, undefined]);
});

test(
  'a user whose shell is none is started without it, also where a login shell is asked for',
  asRoot,
  async (t) => {
    const driver = await serving(t, {
      privileged: [...(allowed.privileged ?? []), ['PassengerUser', 'nobody']],
    });
    // `nobody` has nologin; that real shells keep to the rules is tested in launch.test.ts.
    const appRoot = makeApp(driver.base, GAMES, 'app.sh', 'env | sed "s/^/env /"; sleep 1000\n');
    driver.spawn(1, {
      appRoot,
      startCommand: COMMAND,
      loadShellEnvvars: 1,
      user: 'nobody',
      winningEnv: ['GIVEN=value'],
    });
    const pid = (await driver.told('SPAWNED'))['pid'];
    const text = await driver.output(pid, /env GIVEN=value/);
    assert.doesNotMatch(text, /PASSENGER_WINNING/);
  },
);

test('a failed step is named with its errno and the obstacle', asRoot, async (t) => {
  const driver = await serving(t, {
    privileged: [
      ...(allowed.privileged ?? []),
      ['PassengerNodejs', '/nowhere/node'],
      ['PassengerUser', 'games'],
    ],
  });
  const appRoot = makeApp(driver.base, GAMES, 'server.js', '');
  const node = { kind: 'node', appRoot, startupFile: 'server.js', referenceFile: 'server.js' };
  driver.spawn(1, { ...node, nodejs: '/nowhere/node' });
  const missing = await driver.told('SPAWN_FAILED', (m) => m['spawnId'] === 1);
  assert.deepEqual([missing['step'], missing['errno'], missing['code']], ['exec', 2, 'PSG7016']);
  assert.match(String(missing['detail']), / program=\/nowhere\/node path=\/nowhere$/);

  const inner = path.join(driver.base, 'closed');
  fs.mkdirSync(inner, { mode: 0o700 });
  const hidden = makeApp(inner, GAMES, 'server.js', '');
  driver.spawn(2, { ...node, appRoot: hidden });
  const closed = await driver.told('SPAWN_FAILED', (m) => m['spawnId'] === 2);
  assert.deepEqual([closed['step'], closed['errno'], closed['code']], ['chdir', 13, 'PSG7017']);
  assert.match(String(closed['detail']), new RegExp(`path=${fs.realpathSync(inner)} mode=0700 owner=0:0`));

  fs.chmodSync(path.join(appRoot, 'server.js'), 0o000);
  driver.spawn(3, node);
  const unreadable = await driver.told('SPAWN_FAILED', (m) => m['spawnId'] === 3);
  assert.deepEqual([unreadable['step'], unreadable['errno'], unreadable['code']], ['read', 13, 'PSG7017']);

  driver.spawn(4, { ...node, startupFile: 'other.js', referenceFile: 'other.js' });
  const absent = await driver.told('SPAWN_FAILED', (m) => m['spawnId'] === 4);
  assert.deepEqual([absent['code'], absent['errno']], ['PSG7013', 2]);
  const children = `/proc/${driver.pid}/task/${driver.pid}/children`;
  await eventually(2000, 'no zombie of a failed start stays', () => {
    return fs.readFileSync(children, 'utf8').trim() === String(driver.lines[0]?.hello);
  });
  await eventually(
    2000,
    'no socket of a failed start stays',
    () => fs.readdirSync(path.join(driver.instanceDir, 'apps')).length === 0,
  );
});

test('what Apache did not configure is refused, whoever asks', asRoot, async (t) => {
  const driver = await serving(t);
  const appRoot = makeApp(driver.base, GAMES, 'server.js', '');
  const node = { kind: 'node', appRoot, startupFile: 'server.js', referenceFile: 'server.js' };
  const attempts = [
    { ...node, user: 'man' },
    { ...node, group: 'man' },
    { ...node, nodejs: '/bin/sh' },
    { appRoot, startCommand: '/usr/bin/id' },
    { ...node, noNewPrivileges: 'off' },
  ];
  attempts.forEach((attempt, index) => driver.spawn(10 + index, attempt));
  for (let id = 10; id < 10 + attempts.length; id += 1) {
    assert.equal((await driver.told('SPAWN_FAILED', (m) => m['spawnId'] === id))['code'], 'PSG7015');
  }
  const crooked = [
    { ...node, startupFile: '../x.js', referenceFile: '../x.js' },
    { ...node, referenceFile: '' },
    { appRoot, kind: 'detect', referenceFile: 'server.js' },
    { ...node, key: '../../x' },
  ];
  crooked.forEach((attempt, index) => driver.spawn(20 + index, attempt));
  for (let id = 20; id < 20 + crooked.length; id += 1) {
    assert.equal((await driver.told('SPAWN_FAILED', (m) => m['spawnId'] === id))['code'], 'PSG7002');
  }
});

test('code that the core itself could have written never runs as another user', asRoot, async (t) => {
  const driver = await serving(t, { privileged: [['PassengerUser', 'games']] });
  const appRoot = makeApp(driver.base, 33, 'server.js', '');
  driver.spawn(1, {
    kind: 'node',
    appRoot,
    startupFile: 'server.js',
    referenceFile: 'server.js',
    user: 'games',
  });
  assert.equal((await driver.told('SPAWN_FAILED'))['code'], 'PSG7014');
});

test(
  'exits are told with code or signal, and the rest of the group goes with its leader',
  asRoot,
  async (t) => {
    const driver = await serving(t, allowed);
    const pid = await startApp(driver, 1, 'sleep 1000 & echo child=$!; wait\n');
    const child = Number(/child=(\d+)/.exec(await driver.output(pid, /child=\d+\n/))?.[1]);
    assert.equal(processStatus(child)?.get('Uid')?.split('\t')[0], String(GAMES));
    driver.send({ type: 'SIGNAL', pid, signal: 'SIGTERM', group: 0 });
    const exited = await driver.told('EXITED');
    assert.deepEqual([exited['pid'], exited['code'], exited['signal']], [pid, undefined, 'SIGTERM']);
    await eventually(2000, 'child of the app has gone', () => isGone(child));
  },
);

test('signals reach children of ours only', asRoot, async (t) => {
  const driver = await serving(t, allowed);
  const pid = await startApp(driver, 1, LOOP);
  driver.send({ type: 'SIGNAL', pid: process.pid, signal: 'SIGKILL', group: 0 });
  driver.send({ type: 'SIGNAL', pid: driver.pid, signal: 'SIGKILL', group: 1 });
  driver.send({ type: 'SIGNAL', pid, signal: 'SIGSTOP', group: 0 });
  driver.send({ type: 'SIGNAL', pid, signal: 'SIGKILL', group: 1 });
  assert.equal((await driver.told('EXITED'))['signal'], 'SIGKILL');
  assert.equal(isGone(driver.pid), false);
});

test(
  'what the log of a core that ends did not take is told by the supervisor, in whole lines',
  asRoot,
  async (t) => {
    const driver = await serving(t);
    driver.send({ type: 'LAST_WORDS', lines: ['PSG0001 a reason', 'two\nlines'], lost: 7 });
    await eventually(5000, 'all is told', () => /PSG0002 .* lines=7\n/.test(driver.log));
    assert.match(driver.log, /^PSG0001 a reason\ntwo\?lines$/m);
  },
);

test('MEMORY tells the resident size of children of ours, and nothing about others', asRoot, async (t) => {
  const driver = await serving(t, allowed);
  const pid = await startApp(driver, 1, LOOP);
  const ask = async (asked: number): Promise<number> => {
    driver.send({ type: 'MEMORY', pid: asked });
    return Number((await driver.told('MEMORY_RESULT', (m) => m['pid'] === asked))['bytes']);
  };
  assert.ok((await ask(pid)) > 500_000);
  assert.equal(await ask(process.pid), 0);
});

test(
  'STAT answers the three questions and follows no symlink of a startup file out of the app root',
  asRoot,
  async (t) => {
    const driver = await serving(t);
    const appRoot = makeApp(driver.base, GAMES, 'server.js', '');
    fs.chmodSync(appRoot, 0o700);
    fs.mkdirSync(path.join(appRoot, 'tmp'));
    fs.writeFileSync(path.join(appRoot, 'tmp', 'restart.txt'), '');
    fs.symlinkSync('/etc', path.join(appRoot, 'out'));
    fs.symlinkSync('/etc/shadow', path.join(appRoot, 'link.js'));
    const { mtimeNs, ino } = fs.statSync(path.join(appRoot, 'tmp', 'restart.txt'), { bigint: true });
    const ask = async (requestId: number, question: string, place: string) => {
      driver.send({ type: 'STAT', requestId, appRoot, question, place });
      return driver.told('STAT_RESULT', (m) => m['requestId'] === requestId);
    };
    const found = await ask(1, 'restart.txt', 'tmp');
    assert.deepEqual([found['exists'], found['mtimeNs'], found['inode']], [1, String(mtimeNs), String(ino)]);
    assert.equal((await ask(2, 'always_restart.txt', 'tmp'))['errno'], 2);
    assert.equal((await ask(3, 'restart.txt', path.join(appRoot, 'tmp')))['exists'], 1);
    assert.equal((await ask(4, 'startup', 'server.js'))['exists'], 1);
    assert.equal((await ask(5, 'startup', 'out/hostname'))['errno'], 18);
    assert.equal((await ask(6, 'startup', '../../etc/passwd'))['errno'], 18);
    const link = await ask(7, 'startup', 'link.js');
    assert.equal(link['inode'], String(fs.lstatSync(path.join(appRoot, 'link.js'), { bigint: true }).ino));
    assert.equal((await ask(8, '/etc/shadow', ''))['errno'], 22);
  },
);

test(
  'restart files are found through a symlink out of the app root, with the rights of its owner',
  asRoot,
  async (t) => {
    const driver = await serving(t);
    const appRoot = makeApp(driver.base, GAMES, 'server.js', '');
    const shared = path.join(driver.base, 'shared');
    fs.mkdirSync(shared, { mode: 0o700 });
    fs.writeFileSync(path.join(shared, 'restart.txt'), '');
    fs.symlinkSync('../shared', path.join(appRoot, 'tmp'));
    fs.chmodSync(driver.base, 0o711);
    let requestId = 0;
    const errno = async (place: string): Promise<unknown> => {
      requestId += 1;
      driver.send({ type: 'STAT', requestId, appRoot, question: 'restart.txt', place });
      return (await driver.told('STAT_RESULT', (m) => m['requestId'] === requestId))['errno'];
    };
    fs.lchownSync(path.join(appRoot, 'tmp'), GAMES, GAMES);
    assert.equal(await errno('tmp'), 13, 'its owner may not look there');
    fs.chownSync(shared, GAMES, GAMES);
    assert.equal(await errno('tmp'), 0);
    fs.lchownSync(path.join(appRoot, 'tmp'), 0, 0);
    assert.equal(await errno('tmp'), 0, 'those of the owner of the app root, who could have made it');
    fs.chownSync(appRoot, 0, 0);
    assert.equal(await errno('tmp'), 13, 'root lends nobody its rights');
    assert.equal(await errno('../shared'), 0, 'a place that the configuration names');
  },
);

test(
  'a restart file that is a symlink counts as the file that it leads to, with the rights of the owner of the link',
  asRoot,
  async (t) => {
    const driver = await serving(t);
    const appRoot = makeApp(driver.base, GAMES, 'server.js', '');
    const [inside, outside] = [path.join(appRoot, 'version'), path.join(driver.base, 'version')];
    for (const file of [inside, outside]) fs.writeFileSync(file, '');
    fs.chmodSync(driver.base, 0o711);
    const link = path.join(appRoot, 'restart.txt');
    let requestId = 0;
    const look = async (target: string): Promise<unknown> => {
      fs.rmSync(link, { force: true });
      fs.symlinkSync(target, link);
      fs.lchownSync(link, GAMES, GAMES);
      requestId += 1;
      driver.send({ type: 'STAT', requestId, appRoot, question: 'restart.txt', place: '' });
      const answer = await driver.told('STAT_RESULT', (m) => m['requestId'] === requestId);
      return answer['errno'] === 0 ? answer['inode'] : answer['errno'];
    };
    const inode = (file: string): string => String(fs.statSync(file, { bigint: true }).ino);
    assert.equal(await look('version'), inode(inside));
    assert.equal(await look('../version'), inode(outside));
    assert.equal(await look('nowhere'), 2, 'it leads to nothing: no restart file');
    assert.equal(await look('restart.txt'), 40, 'it leads to itself');
    fs.chmodSync(driver.base, 0o700);
    assert.equal(await look('../version'), 13, 'the owner of the link may not look there');
  },
);
