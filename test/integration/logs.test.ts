/** Logs: an app's own file, the server's file, rotation, full disks, floods. What root opens stands in unit/supervisor/files. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { giveTo } from '../support/apps.js';
import { eventually } from '../support/eventually.js';
import { userNamed } from '../support/users.js';
import { ask } from './client.js';
import { appPids, corePid, logLine, rule, site } from './kit.js';
import { lineIn, OWN_LOG, saidIn, say, textOf, withOwnLog } from './log-files.js';

rule(
  'PassengerAppLogFile takes the lines of its app, as a file of the user, through rotation, reload and a new core',
  { root: true },
  async (scene) => {
    const { apache, app, file } = await withOwnLog(scene, 'probe');
    await say(apache, 'first');
    await lineIn(file, /^\[[^\]]+ \d{4}\] App \d+ stdout: first on stdout$/);
    await lineIn(file, /App \d+ stderr: first on stderr$/);
    const { uid, gid } = userNamed('psgapp1');
    const facts = statSync(file);
    assert.deepEqual([facts.uid, facts.gid, facts.mode & 0o777], [uid, gid, 0o640]);

    renameSync(file, `${file}.1`);
    await saidIn(apache, file, 'renamed');
    truncateSync(file, 0);
    await saidIn(apache, file, 'truncated');
    assert.ok(!textOf(file).includes('\0'), 'no hole in the file');
    unlinkSync(file);
    await saidIn(apache, file, 'unlinked');

    renameSync(file, `${file}.2`);
    await apache.graceful();
    await say(apache, 'reloaded');
    await lineIn(file, /stdout: reloaded/);

    // Requests meet the gap between two cores.
    apache.allowLog(/PSG\d{4}/);
    const [before] = appPids(apache, app);
    process.kill(corePid(apache), 'SIGKILL');
    await eventually(10_000, 'the new core serves', async () => {
      return (await ask(apache.port, 'a.test', '/')).status === 200;
    });
    await saidIn(apache, file, 'adopted');
    assert.ok(before !== undefined);
    assert.doesNotMatch(apache.log(), /on std(out|err)|PSG6\d{3}/);
  },
);

rule(
  'a start that fails is told in the log file of the app, and in one short line of the server’s',
  {},
  async (scene) => {
    const { apache, file } = await withOwnLog(scene, 'broken');
    apache.allowLog(/PSG5003/);
    assert.equal((await ask(apache.port, 'a.test', '/')).status, 500);
    await lineIn(file, /stdout: broken says: about to fail/);
    await lineIn(file, /stderr: Error: the database of the broken app is away/);
    await lineIn(file, /Passenger: start of .* failed: PSG6006 .*journey="prepare/);
    await logLine(apache, /PSG5003 .*error=PSG6006/);
    assert.doesNotMatch(apache.log(), /broken says/);
  },
);

rule(
  'a log file that cannot be used, or whose disk is full, costs nobody anything: the lines stand in the server’s log',
  { root: true },
  async (scene) => {
    const { apache, app, file } = await withOwnLog(scene, 'probe');
    apache.allowLog(/PSG6016/);
    const secret = join(app, 'secret');
    writeFileSync(secret, '', { mode: 0o600 });
    symlinkSync(secret, file);
    await say(apache, 'past-a-link');
    await logLine(apache, /PSG6016 .*file=log\/app\.log why="a symbolic link/);
    await logLine(apache, /App \d+ stdout: past-a-link/);
    assert.equal(textOf(secret), '');
    unlinkSync(file);
    await saidIn(apache, file, 'back');
    await logLine(apache, /log file of an app is used again/);
  },
);

rule(
  'a full disk below a log file loses no line, and the file goes on when there is room',
  { root: true },
  async (scene) => {
    const app = await scene.app('probe');
    const directory = join(app, 'log');
    mkdirSync(directory);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=1777', 'tmpfs', directory]);
    assert.equal(mounted.status, 0, 'mount');
    try {
      const apache = await scene.start({ vhosts: [site('a.test', app, OWN_LOG)] });
      apache.allowLog(/PSG6016/);
      const file = join(directory, 'app.log');
      assert.equal((await ask(apache.port, 'a.test', '/flood?lines=4000')).text, 'flooded');
      await logLine(apache, /PSG6016 .*why=ENOSPC/);
      await logLine(apache, /stdout: flood 4000$/);
      const lines = (text: string): number => text.match(/stdout: flood \d+\n/g)?.length ?? 0;
      // What the file did not take comes behind lines that never went there.
      await eventually(5000, 'all lines', () => lines(textOf(file)) + lines(apache.log()) === 4000);
      assert.equal(apache.log().match(/PSG6016/g)?.length, 1);
      truncateSync(file, 0);
      await saidIn(apache, file, 'room-again');
      await apache.stop();
    } finally {
      spawnSync('umount', ['-l', directory]);
    }
  },
);

rule(
  'of an app that dies behind a flood the reason is logged, and the number of lines that were dropped',
  {},
  async (scene) => {
    const { apache, file } = await withOwnLog(scene, 'probe');
    apache.allowLog(/PSG6010|PSG5005|PSG4001/);
    assert.equal((await ask(apache.port, 'a.test', '/flood?lines=20000&then=crash')).status, 502);
    await lineIn(file, /stderr: Error: died behind a flood/);
    await lineIn(file, /Passenger: \d+ lines of process \d+ dropped/);
    await lineIn(file, /Passenger: process \d+ ended exitCode=1/);
    await logLine(apache, /PSG6010 .* lines=\d{4,5}$/);
  },
);

rule(
  'PassengerLogFile takes the lines of supervisor, core and apps; Apache keeps its ErrorLog, also as a pipe',
  {},
  async (scene) => {
    const app = await scene.app('probe');
    const apache = await scene.start({
      vhosts: [site('a.test', app)],
      server: 'PassengerLogFile $DIR/passenger.log\nPassengerLogLevel 4\nPassengerDisableLogPrefix on',
      errorLog: '"|/usr/bin/tee -a $DIR/error.log"',
    });
    const file = join(apache.dir, 'passenger.log');
    await say(apache, 'server-wide');
    await lineIn(file, /^server-wide on stdout$/);
    await lineIn(file, /passenger_spawn:info\] \[pid \d+\] app process is ready/);
    await logLine(apache, /AH00489|resuming normal operations/);
    assert.doesNotMatch(apache.log(), /server-wide|app process is ready/);

    renameSync(file, `${file}.1`);
    await eventually(5000, 'made again by itself', () => existsSync(file));
    await eventually(5000, 'the core has it', async () => {
      await say(apache, 'after-rename');
      return textOf(file).includes('after-rename on stdout');
    });

    const httpd = join(apache.dir, 'httpd.conf');
    const quiet = readFileSync(httpd, 'utf8')
      .replace('PassengerLogLevel 4', 'PassengerLogLevel 1')
      .replace('PassengerDisableLogPrefix on', '');
    writeFileSync(httpd, quiet);
    await apache.graceful();
    await eventually(15_000, 'the new settings hold', async () => {
      await say(apache, 'prefixed');
      return /App \d+ stdout: prefixed on stdout/.test(textOf(file));
    });
    const from = textOf(file).lastIndexOf('app process is ready');
    assert.ok(from < textOf(file).indexOf('prefixed on stdout'), 'level 1 knows no info');
  },
);

rule(
  'an Apache without root opens log files and error pages as its own user',
  { root: true },
  async (scene) => {
    const app = await scene.app('probe');
    writeFileSync(join(app, 'sorry.html'), '<h1>Sorry</h1>');
    giveTo(join(app, 'sorry.html'), 'psgapp1');
    const config = 'PassengerAppLogFile app.log\nPassengerCustomErrorPage sorry.html';
    const server = 'PassengerLogFile $DIR/passenger.log';
    const apache = await scene.start({ asUser: 'psgapp1', vhosts: [site('a.test', app, config)], server });
    await say(apache, 'without-root');
    await lineIn(join(app, 'app.log'), /stdout: without-root/);
    assert.equal(statSync(join(app, 'app.log')).uid, userNamed('psgapp1').uid);
    assert.equal((await ask(apache.port, 'a.test', '/crash')).text, '<h1>Sorry</h1>');
    await lineIn(join(apache.dir, 'passenger.log'), /PSG4001/);
  },
);
