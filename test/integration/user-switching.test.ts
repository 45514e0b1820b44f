/** Apps run as exactly the user that the rules name, with nothing more; whatever fails stops that app with a number. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, lchownSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Apache } from '../support/apache.js';
import { giveTo } from '../support/apps.js';
import { type User, supplementaryGroups, userNamed } from '../support/users.js';
import { type Answer, ask } from './client.js';
import { type ProbeFacts, appPids, logLine, rule, site } from './kit.js';

async function facts(apache: Apache, host = 'a.test'): Promise<ProbeFacts> {
  const answer = await ask(apache.port, host, '/status');
  assert.equal(answer.status, 200, answer.text);
  return answer.json<ProbeFacts>();
}

function four(id: number): string {
  return [id, id, id, id].join(' ');
}

function groupsOf(user: User): string {
  return [...new Set([user.gid, ...supplementaryGroups(user.name)])].sort((a, b) => a - b).join(' ');
}

function sorted(list: string | undefined): string {
  return (list ?? '')
    .split(' ')
    .filter((entry) => entry !== '')
    .map(Number)
    .sort((a, b) => a - b)
    .join(' ');
}

/** The app did not start: 500 with a number, and the log names the same number. */
async function refused(apache: Apache, answer: Answer, detail: RegExp): Promise<void> {
  assert.equal(answer.status, 500, answer.text);
  const number = /PSG[67]\d{3}/.exec(answer.text)?.[0] ?? '';
  assert.notEqual(number, '', `a number for the client: ${answer.text}`);
  apache.allowLog(/PSG[67]\d{3}/);
  await logLine(apache, new RegExp(`${number}`));
  assert.match(apache.log(), detail);
}

rule(
  'an app runs as the owner of its startup file: all ids, groups, no capabilities',
  { root: true },
  async (scene) => {
    const user = userNamed('psgapp1');
    const { apache, app } = await scene.serve('probe', '', { owner: 'psgapp1' });
    const seen = await facts(apache);
    assert.equal(seen.proc['Uid'], four(user.uid));
    assert.equal(seen.proc['Gid'], four(user.gid));
    assert.equal(sorted(seen.proc['Groups']), groupsOf(user));
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
      assert.equal(seen.proc[set], '0000000000000000', set);
    assert.equal(seen.umask, '0022');
    assert.equal(seen.cwd, app);
    assert.equal(seen.sid, seen.pid, 'a session of its own');
    assert.equal(seen.pgid, seen.pid);
  },
);

rule('an app holds its own descriptors only', { root: true }, async (scene) => {
  const { apache } = await scene.serve('probe');
  const { fds } = await facts(apache);
  assert.equal(fds['0'], '/dev/null');
  assert.match(fds['1'] ?? '', /^pipe:/);
  assert.match(fds['2'] ?? '', /^pipe:/);
  assert.match(fds['3'] ?? '', /^socket:/);
  assert.match(fds['4'] ?? '', /^socket:/);
  // What is above 4 is Node's own: epoll, eventfd, pipes, /dev/null and connections; never a file or a log.
  for (const [fd, target] of Object.entries(fds)) {
    if (Number(fd) > 4)
      assert.match(target, /^(anon_inode:|pipe:|socket:|\/dev\/(null|urandom)|\/proc\/)/, `${fd}: ${target}`);
  }
});

rule(
  'the startup file is the main module and argv is as node itself would make it',
  { root: true },
  async (scene) => {
    const { apache, app } = await scene.serve('probe');
    const seen = await facts(apache);
    assert.equal(seen.isMain, true);
    assert.equal(seen.argv[1], `${app}/app.js`);
    assert.equal(seen.argv.length, 2);
    assert.equal(seen.title, `Passenger NodeApp: ${app}`);
  },
);

rule('environment holds the facts of passwd', { root: true }, async (scene) => {
  const user = userNamed('psgapp1');
  const { apache, app } = await scene.serve('probe');
  const env = (await ask(apache.port, 'a.test', '/env')).json<Record<string, string>>();
  assert.equal(env['USER'], user.name);
  assert.equal(env['LOGNAME'], user.name);
  assert.equal(env['HOME'], user.home);
  assert.equal(env['SHELL'], user.shell);
  assert.equal(env['PWD'], app);
});

rule('PassengerUser and PassengerGroup win over ownership', { root: true }, async (scene) => {
  const app = await scene.app('probe', 'psgapp1');
  const apache = await scene.start({
    vhosts: [
      site('a.test', app, 'PassengerUser psgapp2'),
      site('b.test', app, 'PassengerUser psgapp2\nPassengerGroup psgapp1'),
      site('c.test', app, 'PassengerUser psgapp2\nPassengerGroup !STARTUP_FILE!'),
    ],
  });
  const one = userNamed('psgapp1');
  const two = userNamed('psgapp2');
  const a = await facts(apache, 'a.test');
  assert.equal(a.proc['Uid'], four(two.uid));
  assert.equal(a.proc['Gid'], four(two.gid));
  for (const host of ['b.test', 'c.test']) {
    const seen = await facts(apache, host);
    assert.equal(seen.proc['Uid'], four(two.uid), host);
    assert.equal(seen.proc['Gid'], four(one.gid), host);
  }
});

rule('the owner of a symlink counts, not that of its target', { root: true }, async (scene) => {
  const app = await scene.app('probe', 'psgapp1');
  const two = userNamed('psgapp2');
  renameSync(`${app}/app.js`, `${app}/real.js`);
  symlinkSync('real.js', `${app}/app.js`);
  lchownSync(`${app}/app.js`, two.uid, two.gid);
  const apache = await scene.start({ vhosts: [site('a.test', app)] });
  assert.equal((await facts(apache)).proc['Uid'], four(two.uid));
});

rule(
  'a root-owned startup file runs as PassengerDefaultUser, never as root',
  { root: true },
  async (scene) => {
    const app = await scene.app('probe');
    chownSync(`${app}/app.js`, 0, 0);
    const two = userNamed('psgapp2');
    const apache = await scene.start({
      server: 'PassengerDefaultUser psgapp2',
      vhosts: [site('a.test', app)],
    });
    assert.equal((await facts(apache)).proc['Uid'], four(two.uid));
    assert.equal((await facts(apache)).proc['Gid'], four(two.gid));
  },
);

rule('without another default a root-owned startup file runs as nobody', { root: true }, async (scene) => {
  const app = await scene.app('probe');
  chownSync(`${app}/app.js`, 0, 0);
  const apache = await scene.start({ vhosts: [site('a.test', app)] });
  assert.equal((await facts(apache)).proc['Uid'], four(userNamed('nobody').uid));
});

rule('PassengerUser root never gives root', { root: true }, async (scene) => {
  const app = await scene.app('probe');
  const apache = await scene.start({ vhosts: [site('a.test', app, 'PassengerUser root')] });
  const answer = await ask(apache.port, 'a.test', '/status');
  if (answer.status === 200) assert.doesNotMatch(answer.json<ProbeFacts>().proc['Uid'] ?? '', /\b0\b/);
  else await refused(apache, answer, /root/);
  for (const pid of appPids(apache)) assert.notEqual(pid, 0);
});

rule('PassengerUserSwitching off runs every app as the default user', { root: true }, async (scene) => {
  const app = await scene.app('probe', 'psgapp1');
  const apache = await scene.start({
    server: 'PassengerUserSwitching off\nPassengerDefaultUser psgapp2',
    vhosts: [site('a.test', app)],
  });
  assert.equal((await facts(apache)).proc['Uid'], four(userNamed('psgapp2').uid));
});

// Passenger 6.0.17 falls back to the default user silently (reference §5.5); ours refuses (DESIGN §5).
rule(
  'an unknown user or group is a numbered error, and other apps are not affected',
  { root: true },
  async (scene) => {
    const app = await scene.app('probe');
    const apache = await scene.start({
      vhosts: [
        site('a.test', app, 'PassengerUser psg-nobody-knows'),
        site('b.test', app, 'PassengerGroup psg-nowhere'),
        site('c.test', app),
      ],
    });
    await refused(apache, await ask(apache.port, 'a.test', '/'), /psg-nobody-knows/);
    await refused(apache, await ask(apache.port, 'b.test', '/'), /psg-nowhere/);
    assert.equal((await ask(apache.port, 'c.test', '/')).text, 'hello, probe');
  },
);

rule('a directory on the way that the user may not enter is named', { root: true }, async (scene) => {
  const app = await scene.app('probe', 'psgapp1');
  const parent = dirname(app);
  const apache = await scene.start({ vhosts: [site('a.test', app, 'PassengerUser psgapp2')] });
  // Apache's user must still get there, the app's must not.
  execFileSync('chgrp', ['www-data', parent]);
  chmodSync(parent, 0o710);
  const answer = await ask(apache.port, 'a.test', '/');
  chmodSync(parent, 0o755);
  await refused(apache, answer, new RegExp(parent.replaceAll('/', '\\/')));
});

rule(
  'with PassengerLoadShellEnvvars the login shell’s profile counts, SetEnv wins over it',
  { root: true },
  async (scene) => {
    const app = await scene.app('probe', 'psgshell');
    const { home } = userNamed('psgshell');
    for (const name of ['.profile', '.bash_profile']) {
      writeFileSync(`${home}/${name}`, 'export FROM_PROFILE=yes\nexport BOTH=profile\n');
      giveTo(`${home}/${name}`, 'psgshell');
    }
    const apache = await scene.start({
      vhosts: [
        site('a.test', app, 'SetEnv BOTH setenv'),
        site(
          'b.test',
          app,
          'PassengerAppGroupName without-shell\nPassengerLoadShellEnvvars off\nSetEnv BOTH setenv',
        ),
      ],
    });
    const env = async (host: string): Promise<Record<string, string>> =>
      (await ask(apache.port, host, '/env')).json<Record<string, string>>();
    const on = await env('a.test');
    assert.equal(on['FROM_PROFILE'], 'yes');
    assert.equal(on['BOTH'], 'setenv');
    const off = await env('b.test');
    assert.equal(off['FROM_PROFILE'], undefined);
    assert.equal(off['BOTH'], 'setenv');
  },
);

rule('Apache as an ordinary user serves apps as that user', { root: true }, async (scene) => {
  const app = await scene.app('probe', 'psgapp1');
  const apache = await scene.start({ asUser: 'psgapp1', vhosts: [site('a.test', app)] });
  const { uid } = userNamed('psgapp1');
  assert.equal((await facts(apache)).proc['Uid'], four(uid));
  for (const process of apache.processes()) assert.equal(process.uid, uid, process.title);
});

rule(
  'an app may call set-uid programs only where the administrator says so, and still has no capability itself',
  { root: true },
  async (scene) => {
    const closed = await scene.serve('probe', '', { owner: 'psgapp1' });
    assert.equal((await facts(closed.apache)).proc['NoNewPrivs'], '1');
    await closed.apache.stop();
    const open = await scene.serve('probe', 'PassengerNoNewPrivileges off', { owner: 'psgapp1' });
    const seen = await facts(open.apache);
    assert.equal(seen.proc['NoNewPrivs'], '0');
    assert.equal(seen.proc['CapEff'], '0000000000000000');
  },
);
