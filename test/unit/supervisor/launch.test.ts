/** Program, arguments and environment of an app, and the promise that no value of the environment is in argv. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { buildLaunch, type LaunchFacts } from '../../../core/supervisor/launch.js';
import type { Message } from '../../../core/supervisor/messages.js';

const FACTS: LaunchFacts = {
  user: { name: 'alice', uid: 1001, gid: 1001, home: '/home/alice', shell: '/bin/sh' },
  rootPath: '/srv/releases/1',
  loaders: '/run/x/loaders',
  node: '/usr/bin/node',
};

function message(changes: Partial<Message<'SPAWN'>>): Message<'SPAWN'> {
  return {
    type: 'SPAWN',
    spawnId: 1,
    appRoot: '/srv/current',
    startupFile: '',
    kind: 'command',
    user: '',
    group: '',
    nodejs: '',
    startCommand: './run',
    env: ['PATH=/bin:/usr/bin', 'SECRET=s3cret'],
    winningEnv: [],
    loadShellEnvvars: 0,
    meta: Buffer.alloc(0),
    referenceFile: '',
    meteorAppSettings: '',
    noNewPrivileges: '',
    appEnv: 'production',
    key: 'k',
    ...changes,
  };
}

test('each kind has its own program', () => {
  const argv = (changes: Partial<Message<'SPAWN'>>): string[] => buildLaunch(message(changes), FACTS).argv;
  assert.deepEqual(argv({ kind: 'node', startupFile: 'app.js' }), [
    '/usr/bin/node',
    '--require',
    '/run/x/loaders/preload.cjs',
    '/srv/releases/1/app.js',
  ]);
  assert.deepEqual(argv({ kind: 'detect' }), ['/usr/bin/node', '/run/x/loaders/detect.cjs']);
  assert.deepEqual(argv({}), ['/bin/sh', '-c', 'exec ./run']);
  assert.deepEqual(argv({ kind: 'meteor', appEnv: 'development' }), [
    '/bin/sh',
    '-c',
    'exec meteor run --port "$PORT"',
    'meteor',
  ]);
  const settings = argv({ kind: 'meteor', meteorAppSettings: "/srv/it's.json" });
  assert.deepEqual(settings.slice(2), [
    'exec meteor run --port "$PORT" --production --settings "$1"',
    'meteor',
    "/srv/it's.json",
  ]);
  assert.throws(() => argv({ kind: 'ruby' }), { code: 'PSG7002' });
});

test('passwd facts fill the environment, what Apache sets wins, LISTEN_ belongs to us', () => {
  const { env, cwd } = buildLaunch(
    message({ env: ['HOME=/elsewhere', 'LISTEN_FDS=9', 'LISTEN_PID=1'] }),
    FACTS,
  );
  assert.deepEqual(env.sort(), [
    'HOME=/elsewhere',
    'LISTEN_FDS=1',
    'LOGNAME=alice',
    'PWD=/srv/current',
    'SHELL=/bin/sh',
    'USER=alice',
  ]);
  assert.equal(cwd, '/srv/releases/1');
});

test('the login shell sets what it likes, except the winning variables; no value is in argv', (t) => {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'psg-home-'));
  t.after(() => fs.rmSync(home, { recursive: true }));
  fs.writeFileSync(
    path.join(home, '.profile'),
    'export FROM_PROFILE=yes PATH=/profile:$PATH SECRET=profile\n',
  );
  const user = { name: 'alice', uid: 1001, gid: 1001, home, shell: '/bin/bash' };
  const launch = buildLaunch(
    message({
      loadShellEnvvars: 1,
      winningEnv: ['SECRET=s3cret', 'odd-name=1'],
      startCommand: '/usr/bin/env',
    }),
    { ...FACTS, user },
  );
  assert.equal(launch.file, '/bin/bash');
  assert.ok(!launch.argv.join(' ').includes('s3cret'));
  const env = Object.fromEntries(
    launch.env.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  );
  const output = execFileSync(launch.file, launch.argv.slice(1), { env, encoding: 'utf8' });
  assert.match(output, /^FROM_PROFILE=yes$/m);
  assert.match(output, /^PATH=\/profile:/m);
  assert.match(output, /^SECRET=s3cret$/m);
  assert.doesNotMatch(output, /PASSENGER_WINNING/);
});

test('a shell that is none is left out', () => {
  for (const shell of ['/usr/sbin/nologin', '/usr/bin/fish', 'bash', '/bin/false']) {
    const user = { name: 'alice', uid: 1001, gid: 1001, home: '/', shell };
    assert.equal(buildLaunch(message({ loadShellEnvvars: 1 }), { ...FACTS, user }).file, '/bin/sh');
    assert.equal(buildLaunch(message({ loadShellEnvvars: 1 }), { ...FACTS, user }).argv[1], '-c');
  }
});
