/** Files of apps and the server's log: with whose rights they are opened, and where root does not go. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { closeFd, openFile } from '../../../core/native.js';
import { eventually } from '../../support/eventually.js';
import { makeApp, processStatus, type Driver } from './driver.js';
import { asRoot, GAMES, MAN, serving } from './serving.js';

/** Debian's groups of these users. */
const GAMES_GID = 60;
const LOG = 'log/app.log';

interface Scene {
  readonly driver: Driver;
  readonly app: string;
  /** @returns what the supervisor said, with the number of descriptors */
  readonly open: (
    file: string,
    changes?: Record<string, unknown>,
  ) => Promise<{ errno: number; why: string; fds: number }>;
}

/** An app of `games` with an empty directory `log`, and all files of the test in the configuration. */
async function scene(t: TestContext, files: readonly string[] = []): Promise<Scene> {
  const names = [LOG, 'page.html', ...files];
  const driver = await serving(t, {
    privileged: names.flatMap((name) => [
      ['PassengerAppLogFile', name] as const,
      ['PassengerCustomErrorPage', name] as const,
    ]),
  });
  const app = makeApp(driver.base, GAMES, 'app.js', '');
  fs.mkdirSync(path.join(app, 'log'));
  fs.chownSync(path.join(app, 'log'), GAMES, GAMES);
  let requestId = 0;
  const open: Scene['open'] = async (file, changes = {}) => {
    requestId += 1;
    const id = requestId;
    const order = {
      purpose: 'log',
      file,
      appRoot: app,
      user: '',
      group: '',
      referenceFile: 'app.js',
      ...changes,
    };
    driver.send({ type: 'OPEN', requestId: id, ...order });
    const told = await driver.told('OPENED', (m) => m['requestId'] === id);
    return { errno: Number(told['errno']), why: String(told['why']), fds: told.fdCount ?? 0 };
  };
  return { driver, app, open };
}

function facts(file: string): [number, number, string] {
  const { uid, gid, mode } = fs.statSync(file);
  return [uid, gid, (mode & 0o7777).toString(8)];
}

const OPENED = { errno: 0, why: '', fds: 1 };

test('a log file is made as the user of the app, who alone can write it', asRoot, async (t) => {
  const { driver, app, open } = await scene(t);
  assert.deepEqual(await open(LOG), OPENED);
  assert.deepEqual(facts(path.join(app, LOG)), [GAMES, GAMES_GID, '640']);
  assert.deepEqual(await open(LOG), OPENED);
  // The supervisor itself is what it was.
  assert.match(processStatus(driver.pid)?.get('Uid') ?? '', /^0\t0\t0\t0$/);
  assert.deepEqual(await open(LOG, { referenceFile: 'missing.js' }), OPENED);
});

test('a directory may be a symbolic link, within the rights of the user', asRoot, async (t) => {
  const { driver, app, open } = await scene(t, ['shared/app.log', 'closed/app.log']);
  const shared = makeApp(driver.base, GAMES, 'x', '');
  fs.symlinkSync(shared, path.join(app, 'shared'));
  const closed = path.join(driver.base, 'closed');
  fs.mkdirSync(closed, { mode: 0o700 });
  fs.symlinkSync(closed, path.join(app, 'closed'));
  assert.deepEqual(await open('shared/app.log'), OPENED);
  assert.deepEqual(facts(path.join(shared, 'app.log')), [GAMES, GAMES_GID, '640']);
  assert.deepEqual(await open('closed/app.log'), { errno: 13, why: 'open', fds: 0 });
  assert.deepEqual(fs.readdirSync(closed), []);
});

test(
  'a symbolic link, a FIFO, a directory or a device is not opened, and nobody waits for one',
  asRoot,
  async (t) => {
    const { driver, app, open } = await scene(t, ['/dev/null', '/dev/zero']);
    const file = path.join(app, LOG);
    const secret = path.join(driver.base, 'secret');
    fs.writeFileSync(secret, 'before', { mode: 0o600 });
    fs.symlinkSync(secret, file);
    assert.deepEqual(await open(LOG), { errno: 22, why: 'a symbolic link', fds: 0 });
    fs.unlinkSync(file);
    execFileSync('mkfifo', [file]);
    assert.deepEqual(await open(LOG), { errno: 22, why: 'not a regular file', fds: 0 });
    assert.deepEqual(await open(LOG, { purpose: 'page' }), { errno: 22, why: 'not a regular file', fds: 0 });
    fs.unlinkSync(file);
    fs.mkdirSync(file);
    assert.deepEqual(await open(LOG), { errno: 22, why: 'not a regular file', fds: 0 });
    assert.deepEqual(await open('/dev/zero'), { errno: 22, why: 'not a regular file', fds: 0 });
    assert.deepEqual(await open('/dev/null'), OPENED);
    assert.equal(fs.readFileSync(secret, 'utf8'), 'before');
  },
);

test('what the user may not write or read stays closed, root’s files in particular', asRoot, async (t) => {
  const { app, open } = await scene(t);
  const file = path.join(app, LOG);
  fs.writeFileSync(file, 'root writes here', { mode: 0o600 });
  assert.deepEqual(await open(LOG), { errno: 13, why: 'open', fds: 0 });
  assert.deepEqual(await open(LOG, { purpose: 'page' }), { errno: 13, why: 'open', fds: 0 });
  // Membership of root's groups is gone as well.
  fs.chmodSync(file, 0o060);
  assert.deepEqual(await open(LOG), { errno: 13, why: 'open', fds: 0 });
});

test('below directories of root’s alone, root makes an absolute log file for the user', asRoot, async (t) => {
  const logs = fs.mkdtempSync('/var/log/psg-test-');
  t.after(() => fs.rmSync(logs, { recursive: true }));
  fs.chmodSync(logs, 0o755);
  const file = path.join(logs, 'shop.log');
  const { open } = await scene(t, [file, path.join(logs, 'link/shop.log'), path.join(logs, 'page.html')]);
  assert.deepEqual(await open(file), OPENED);
  assert.deepEqual(facts(file), [GAMES, GAMES_GID, '640']);
  // Made by somebody's logrotate, for root.
  fs.chownSync(file, 0, 0);
  assert.deepEqual(await open(file), OPENED);
  fs.symlinkSync('/etc', path.join(logs, 'link'));
  assert.equal((await open(path.join(logs, 'link/shop.log'))).errno, 13);
  fs.writeFileSync(path.join(logs, 'page.html'), 'secret', { mode: 0o600 });
  assert.equal((await open(path.join(logs, 'page.html'), { purpose: 'page' })).errno, 13);
  // A directory that the user can change is the user's business alone.
  fs.unlinkSync(file);
  fs.chownSync(logs, 0, GAMES_GID);
  fs.chmodSync(logs, 0o575);
  assert.equal((await open(file)).errno, 0, 'as the user itself');
  fs.chmodSync(file, 0o000);
  assert.equal((await open(file)).errno, 13, 'not as root');
});

test('only files of the configuration are opened, and only below an app root', asRoot, async (t) => {
  const { open } = await scene(t);
  const refused = await open('log/other.log');
  assert.deepEqual([refused.errno, refused.fds], [1, 0]);
  assert.match(refused.why, /PSG7015/);
  assert.match((await open(LOG, { user: 'man' })).why, /PSG7015/);
  assert.match((await open(LOG, { referenceFile: '../x' })).why, /PSG7002/);
  assert.match((await open(LOG, { purpose: 'both' })).why, /PSG7002/);
  assert.match((await open(LOG, { appRoot: 'relative' })).why, /PSG7002/);
});

test('an app of Apache’s own user has no files for another user', asRoot, async (t) => {
  const driver = await serving(t, {
    privileged: [
      ['PassengerUser', 'man'],
      ['PassengerAppLogFile', LOG],
    ],
  });
  const app = makeApp(driver.base, 33, 'app.js', '');
  const order = { purpose: 'log', file: LOG, appRoot: app, user: 'man', group: '', referenceFile: 'app.js' };
  driver.send({ type: 'OPEN', requestId: 1, ...order });
  assert.match(String((await driver.told('OPENED'))['why']), /PSG7014/);
});

const logOf = (driver: Driver, name: string): string => path.join(driver.base, 'logs', name);

async function withLogFile(t: TestContext): Promise<Driver> {
  const driver = await serving(t);
  fs.mkdirSync(path.join(driver.base, 'logs'), { mode: 0o755 });
  const settings = [
    ['PassengerLogLevel', '5'],
    ['PassengerLogFile', logOf(driver, 'passenger.log')],
  ] as const;
  driver.configure(2, [], { settings });
  await driver.started(2);
  return driver;
}

test(
  'PassengerLogFile takes the lines from its configuration on, and the core is told',
  asRoot,
  async (t) => {
    const driver = await withLogFile(t);
    const told = await driver.told('CORE_CONFIG', (m) => m['generation'] === 2);
    assert.deepEqual([told.fdCount, told['errorLog']], [1, 'fd']);
    assert.deepEqual(facts(logOf(driver, 'passenger.log')), [0, 0, '640']);
    const before = driver.log.length;
    driver.order({ order: 'exit' });
    await eventually(5000, 'the end of the core is in the file', () =>
      fs.readFileSync(logOf(driver, 'passenger.log'), 'utf8').includes('PSG7006'),
    );
    assert.equal(driver.log.slice(before), '');
    // Without the directive the error log takes over again.
    driver.configure(3);
    await driver.started(3);
  },
);

test('a renamed PassengerLogFile is made anew by itself, and the core gets it', asRoot, async (t) => {
  const driver = await withLogFile(t);
  fs.renameSync(logOf(driver, 'passenger.log'), logOf(driver, 'passenger.log.1'));
  const told = await driver.told('LOG');
  assert.equal(told.fdCount, 1);
  assert.ok(fs.existsSync(logOf(driver, 'passenger.log')));
});

test('with ErrorLog syslog a PassengerLogFile is no syslog', asRoot, async (t) => {
  const driver = await serving(t);
  fs.mkdirSync(path.join(driver.base, 'logs'), { mode: 0o755 });
  const file = logOf(driver, 'passenger.log');
  driver.configure(2, [], { errorLog: 'syslog:local7', settings: [['PassengerLogFile', file]] });
  assert.equal((await driver.told('CORE_CONFIG', (m) => m['generation'] === 2))['errorLog'], 'fd');
});

test('root opens no PassengerLogFile that somebody else could have put there', asRoot, async (t) => {
  const driver = await serving(t);
  const logs = path.join(driver.base, 'logs');
  fs.mkdirSync(logs, { mode: 0o755 });
  const order = { root: '', append: true, identity: undefined, guarded: true, distrusted: [GAMES_GID] };
  const tried = async (file: string): Promise<string> => {
    const { fd, errno, why } = await openFile({ ...order, file });
    if (fd >= 0) closeFd(fd);
    return errno === 0 ? 'opened' : why;
  };
  const file = path.join(logs, 'x.log');
  assert.equal(await tried(file), 'opened');
  fs.chownSync(logs, MAN, 0);
  assert.equal(await tried(file), 'a directory on the way does not belong to root');
  fs.chownSync(logs, 0, GAMES_GID);
  fs.chmodSync(logs, 0o775);
  assert.equal(await tried(file), 'a directory on the way can be changed by others');
  fs.chmodSync(logs, 0o777);
  assert.equal(await tried(file), 'a directory on the way can be changed by others');
  fs.chmodSync(logs, 0o1777);
  assert.equal(await tried(file), 'opened');
  fs.chownSync(file, MAN, 0);
  assert.equal(await tried(file), "somebody else's file in a directory that others can change");
  fs.symlinkSync('/etc', path.join(driver.base, 'etc'));
  assert.equal(await tried(path.join(driver.base, 'etc', 'x.log')), 'a symbolic link on the way');
  fs.symlinkSync('/etc/passwd', path.join(logs, 'passwd'));
  assert.equal(await tried(path.join(logs, 'passwd')), 'a symbolic link');
  assert.equal(await tried('x.log'), 'not an absolute path');
  assert.equal(await tried(path.join(logs, 'none', 'x.log')), 'directory');

  driver.configure(2, [], { settings: [['PassengerLogFile', path.join(logs, 'passwd')]] });
  await driver.started(2);
  await eventually(5000, 'the refusal is logged', () => /PSG7025 .*why="a symbolic link"/.test(driver.log));
});
