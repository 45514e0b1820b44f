/** The server's log when it takes nothing or moves, and app logs that are no files: nobody waits, nothing is forged. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  constants,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Apache } from '../support/apache.js';
import { giveTo } from '../support/apps.js';
import { eventually } from '../support/eventually.js';
import { assertWithin } from '../support/patience.js';
import { childrenOf } from '../support/processes.js';
import { SyslogListener } from '../support/syslog-listener.js';
import { ask } from './client.js';
import { corePid, logLine, rule, site, supervisorPid } from './kit.js';
import { lineIn, say, textOf } from './log-files.js';

const NEEDS_SYSLOG = { root: true, ...SyslogListener.obstacle() };

/** Numbers of the lines that /flood has written. */
const flooded = (text: string): number[] =>
  [...text.matchAll(/stdout: flood (\d+)x*$/gm)].map(([, n]) => Number(n));

const dropped = (text: string): number =>
  [...text.matchAll(/PSG0002 .* lines=(\d+)$/gm)].reduce((sum, [, lines]) => sum + Number(lines), 0);

const rising = (numbers: readonly number[]): boolean =>
  numbers.every((n, at) => at === 0 || n > (numbers[at - 1] ?? 0));

async function answersQuickly(apache: Apache): Promise<void> {
  const begun = performance.now();
  for (let n = 0; n < 20; n += 1) assert.equal((await ask(apache.port, 'a.test', '/')).status, 200);
  assertWithin(begun, 2000, '20 requests');
}

/** Stops the program behind ErrorLog; the result lets it go on. */
function pauseLogger(apache: Apache): () => void {
  const logger = childrenOf(apache.pid).find(({ title }) => title.startsWith('/usr/bin/tee'));
  assert.ok(logger !== undefined);
  process.kill(logger.pid, 'SIGSTOP');
  return () => process.kill(logger.pid, 'SIGCONT');
}

function edit(apache: Apache, from: string, to: string): void {
  const file = join(apache.dir, 'httpd.conf');
  const before = readFileSync(file, 'utf8');
  assert.ok(before.includes(from));
  writeFileSync(file, before.replaceAll(from, to));
}

/** Whether a write to the log of this process would fail where it should wait; Apache writes to the same description. */
function nonBlocking(pid: number): boolean {
  const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/2`, 'latin1'))?.[1] ?? '';
  return (Number.parseInt(flags, 8) & constants.O_NONBLOCK) !== 0;
}

rule(
  'a piped logger that stops reading holds up neither requests nor starts; what it missed follows in order, with a count',
  {},
  async (scene) => {
    const denied = 'Alias /denied /etc\n<Location /denied>\nPassengerEnabled off\n</Location>';
    const { apache } = await scene.serve('probe', denied, { errorLog: '"|/usr/bin/tee -a $DIR/error.log"' });
    apache.allowLog(/PSG0002|AH01630/);
    await say(apache, 'before');
    await logLine(apache, /stdout: before/);
    const core = corePid(apache);
    for (const pid of [core, supervisorPid(apache), apache.pid])
      assert.ok(!nonBlocking(pid), 'blocking for Apache');
    const resume = pauseLogger(apache);
    try {
      // More than a pipe and what may wait together.
      assert.equal((await ask(apache.port, 'a.test', '/flood?lines=4000&pad=300')).text, 'flooded');
      assert.equal((await ask(apache.port, 'a.test', '/flushed')).text, 'flushed');
      await answersQuickly(apache);
      // Apache's own lines have room, too.
      for (let n = 0; n < 40; n += 1)
        assert.equal((await apache.get('a.test', '/denied', { timeoutMs: 3000 })).status, 403);
    } finally {
      resume();
    }
    await logLine(apache, /PSG0002 /);
    await say(apache, 'afterwards');
    await logLine(apache, /stdout: afterwards/);
    const lines = flooded(apache.log());
    assert.ok(rising(lines), 'their order');
    assert.equal(lines.length + dropped(apache.log()), 4000);
    assert.ok(dropped(apache.log()) > 0 && lines.length > 1500, `${lines.length} lines`);
    assert.equal(corePid(apache), core);
  },
);

rule('a stop does not wait for a piped logger that has stopped reading', {}, async (scene) => {
  const { apache } = await scene.serve('probe', '', { errorLog: '"|/usr/bin/tee -a $DIR/error.log"' });
  await say(apache, 'before');
  apache.allowLog(/PSG0002/);
  const resume = pauseLogger(apache);
  await ask(apache.port, 'a.test', '/flood?lines=4000&pad=300');
  const ours = apache.processes();
  assert.ok(ours.length >= 3);
  // Its end is Apache's business; ours is that nothing of ours stays.
  apache.kill('SIGKILL');
  try {
    await eventually(15_000, 'all of ours are gone', () => apache.processes().length === 0);
  } finally {
    resume();
  }
});

rule(
  'a graceful restart replaces a piped logger that hangs, and the new one gets the lines that waited',
  {},
  async (scene) => {
    const { apache } = await scene.serve('probe', '', { errorLog: '"|/usr/bin/tee -a $DIR/error.log"' });
    await say(apache, 'before');
    await logLine(apache, /stdout: before/);
    const resume = pauseLogger(apache);
    try {
      assert.equal((await ask(apache.port, 'a.test', '/flood?lines=1000&pad=300')).text, 'flooded');
      assert.equal((await ask(apache.port, 'a.test', '/flushed')).text, 'flushed');
      await apache.graceful();
      await logLine(apache, /stdout: flood 1000x/);
      await eventually(5000, 'new lines', async () => {
        await say(apache, 'afterwards');
        return apache.log().includes('stdout: afterwards');
      });
      const lines = flooded(apache.log());
      assert.ok(rising(lines) && lines.length > 800, `${lines.length} lines`);
      assert.equal(lines.length, 1001 - (lines[0] ?? 0));
    } finally {
      resume();
    }
  },
);

rule(
  'a core that ends while its logger hangs leaves its errors, and the number of its other lines, to the supervisor',
  {},
  async (scene) => {
    const { apache } = await scene.serve('probe', '', { errorLog: '"|/usr/bin/tee -a $DIR/error.log"' });
    apache.allowLog(/PSG0002|PSG7006/);
    await say(apache, 'before');
    await logLine(apache, /stdout: before/);
    const [core, supervisor] = [corePid(apache), supervisorPid(apache)];
    const resume = pauseLogger(apache);
    try {
      assert.equal((await ask(apache.port, 'a.test', '/flood?lines=4000&pad=300')).text, 'flooded');
      assert.equal((await ask(apache.port, 'a.test', '/flushed')).text, 'flushed');
      await answersQuickly(apache);
      process.kill(core, 'SIGTERM');
      await eventually(10_000, 'another core', () => ![core, undefined].includes(apache.core()?.pid));
      await answersQuickly(apache);
    } finally {
      resume();
    }
    const told = await logLine(apache, new RegExp(`supervisor:warn\\] \\[pid ${supervisor}\\] PSG0002`));
    await logLine(apache, /PSG7006/);
    assert.ok(Number(/lines=(\d+)/.exec(told)?.[1]) > 1000, told);
    assert.match(apache.log(), new RegExp(`core:warn\\] \\[pid ${core}\\] PSG0002`));
    const lines = flooded(apache.log());
    assert.ok(rising(lines), 'their order');
    assert.equal(lines.length + dropped(apache.log()), 4000);
  },
);

rule('with ErrorLog syslog the lines of apps and of the core reach syslog', NEEDS_SYSLOG, async (scene) => {
  const listener = await SyslogListener.start();
  try {
    const app = await scene.app('probe');
    const vhosts = [site('a.test', app)];
    const server = 'PassengerLogLevel 4';
    const apache = await scene.start({ vhosts, server, errorLog: 'syslog:local7' });
    await ask(apache.port, 'a.test', '/log?line=through-syslog');
    await eventually(5000, 'the line of the app', () => /App \d+ stdout: through-syslog/.test(listener.text));
    assert.match(listener.text, /passenger_spawn:info\] app process is ready/);
    assert.match(listener.text, /passenger_supervisor:info\]/);
    await apache.stop();
  } finally {
    listener.stop();
  }
});

rule('a syslog daemon that hangs holds up nobody', NEEDS_SYSLOG, async (scene) => {
  const listener = await SyslogListener.start();
  try {
    const { apache } = await scene.serve('probe', '', { errorLog: 'syslog:local7' });
    await say(apache, 'before');
    await eventually(5000, 'the first line', () => /stdout: before/.test(listener.text));
    listener.hang();
    assert.equal((await ask(apache.port, 'a.test', '/flood?lines=2000')).text, 'flooded');
    await answersQuickly(apache);
    listener.goOn();
    await eventually(5000, 'all lines', () => flooded(listener.text).length === 2000);
    assert.ok(rising(flooded(listener.text)), 'their order');
    await apache.stop();
  } finally {
    listener.goOn();
    listener.stop();
  }
});

rule(
  'a full disk below the ErrorLog holds up nobody, and no line is lost or torn when there is room again',
  { root: true },
  async (scene) => {
    const app = await scene.app('probe');
    const directory = join(app, 'log');
    mkdirSync(directory);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0755', 'tmpfs', directory]);
    assert.equal(mounted.status, 0, 'mount');
    try {
      const file = join(directory, 'error.log');
      const apache = await scene.start({ vhosts: [site('a.test', app)], errorLog: file });
      assert.equal((await ask(apache.port, 'a.test', '/flood?lines=4000')).text, 'flooded');
      await answersQuickly(apache);
      const first = flooded(textOf(file));
      assert.ok(first.length > 100 && first.length < 1000, `${first.length} lines`);
      assert.equal(spawnSync('mount', ['-o', 'remount,size=4m', directory]).status, 0);
      await eventually(5000, 'the rest', () => flooded(textOf(file)).length === 4000);
      assert.ok(rising(flooded(textOf(file))), 'their order');
      assert.doesNotMatch(textOf(file), /PSG0002/);
      await apache.stop();
    } finally {
      spawnSync('umount', ['-l', directory]);
    }
  },
);

rule(
  'the ErrorLog is followed through copytruncate, and through a move and a graceful restart',
  {},
  async (scene) => {
    const { apache } = await scene.serve('probe');
    const file = join(apache.dir, 'error.log');
    await say(apache, 'first');
    await lineIn(file, /stdout: first/);
    truncateSync(file, 0);
    await say(apache, 'truncated');
    await lineIn(file, /^\[[^\]]+\] .* stderr: truncated/);
    assert.ok(!textOf(file).includes('\0'), 'no hole in the file');
    renameSync(file, `${file}.1`);
    await say(apache, 'moved');
    await lineIn(`${file}.1`, /stderr: moved/);
    await apache.graceful();
    await eventually(10_000, 'the new file', async () => {
      await say(apache, 'reloaded');
      return textOf(file).includes('stdout: reloaded');
    });
    const holders = (): string[] =>
      apache.coreDescriptors().filter((target) => target.startsWith(`${file}.1`));
    await eventually(2000, 'the old file is closed', () => holders().length === 0);
  },
);

rule(
  'a PassengerLogFile that cannot be written is told, and its lines go to the ErrorLog, at a start as at a reload',
  {},
  async (scene) => {
    const app = await scene.app('probe');
    const server = 'PassengerLogFile $DIR/missing/passenger.log';
    const apache = await scene.start({ vhosts: [site('a.test', app)], server });
    apache.allowLog(/PSG7025/);
    await logLine(apache, /PSG7025 .*missing\/passenger\.log.*errno=ENOENT/);
    await say(apache, 'at-the-start');
    await logLine(apache, /stdout: at-the-start/);

    edit(apache, '/missing/passenger.log', '/passenger.log');
    await apache.graceful();
    const file = join(apache.dir, 'passenger.log');
    await eventually(10_000, 'the file is used', async () => {
      await say(apache, 'usable');
      return textOf(file).includes('stdout: usable');
    });
    // A directory in its place.
    edit(apache, '/passenger.log', '/run');
    await apache.graceful();
    await logLine(apache, /PSG7025 .*\/run why="not a regular file"/);
    await eventually(10_000, 'back in the ErrorLog', async () => {
      await say(apache, 'once-more');
      return apache.log().includes('stdout: once-more');
    });
  },
);

rule(
  'an app log that is a FIFO, a directory or a device, or leads away by a symlink, is not written and holds up nobody',
  { root: true },
  async (scene) => {
    const away = mkdtempSync(join(tmpdir(), 'psg-away-'));
    const kinds: Readonly<Record<string, (log: string) => void>> = {
      fifo: (log) => assert.equal(spawnSync('mkfifo', ['-m', '666', join(log, 'app.log')]).status, 0),
      directory: (log) => mkdirSync(join(log, 'app.log')),
      device: (log) =>
        assert.equal(spawnSync('mknod', ['-m', '666', join(log, 'app.log'), 'c', '1', '7']).status, 0),
      away: (log) => {
        rmdirSync(log);
        symlinkSync(away, log);
      },
    };
    const vhosts = [];
    for (const [kind, make] of Object.entries(kinds)) {
      const app = await scene.app('probe');
      const log = join(app, 'log');
      mkdirSync(log);
      giveTo(log, 'psgapp1');
      make(log);
      // The absolute name is the one that root would open where the app's user may not.
      const file = kind === 'away' ? join(log, 'app.log') : 'log/app.log';
      vhosts.push(site(`${kind}.test`, app, `PassengerAppLogFile ${file}`));
    }
    try {
      const apache = await scene.start({ vhosts, server: 'PassengerMaxPoolSize 8' });
      apache.allowLog(/PSG6016/);
      for (const kind of Object.keys(kinds)) {
        const begun = performance.now();
        assert.equal((await ask(apache.port, `${kind}.test`, `/log?line=${kind}`)).text, 'logged');
        assertWithin(begun, 5000, kind);
        await logLine(apache, new RegExp(`App \\d+ stdout: ${kind} on stdout`));
      }
      assert.equal(apache.log().match(/PSG6016 .* why="not a regular file/g)?.length, 3);
      assert.deepEqual(readdirSync(away), []);
    } finally {
      rmdirSync(away);
    }
  },
);

rule(
  'no byte of an app forges a line, steers a terminal or breaks another line, in either log',
  {},
  async (scene) => {
    const own = await scene.app('probe');
    const vhosts = [
      site('a.test', own, 'PassengerAppLogFile app.log'),
      site('b.test', await scene.app('probe')),
    ];
    const apache = await scene.start({ vhosts });
    const write = async (host: string, bytes: Buffer): Promise<void> => {
      const answer = await ask(apache.port, host, `/write?hex=${bytes.toString('hex')}`);
      assert.equal(answer.text, 'written');
    };
    const forged = '[Sat Jan 01 00:00:00.000000 2000] [core:emerg] [pid 1] forged';
    const logs = { 'a.test': join(own, 'app.log'), 'b.test': join(apache.dir, 'error.log') };
    for (const [host, file] of Object.entries(logs)) {
      await write(host, Buffer.from(`\x1b[2Jred\x07\u009b31m\r${forged}\n${forged}\n`));
      await write(host, Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28, 0x0a]));
      await lineIn(file, /^\[[^\]]+\] .*App \d+ stdout: \\x1b\[2Jred\\x07\\x9b31m\\x0d\[Sat Jan 01/);
      await lineIn(file, /^\[[^\]]+\] .*App \d+ stdout: \[Sat Jan 01/);
      await lineIn(file, /App \d+ stdout: \ufffd\ufffd\\x00\ufffd\($/);
      assert.doesNotMatch(textOf(file), /^\[Sat Jan 01 00:00:00/m);
      for (let part = 0; part < 20; part += 1) await write(host, Buffer.alloc(4000, 'l'));
      await write(host, Buffer.from('\nnext\n'));
      assert.match(await lineIn(file, /stdout: lll/), /l … \(14464 bytes more\)$/);
      await lineIn(file, /stdout: next$/);
    }
  },
);
