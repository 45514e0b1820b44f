/** Nothing of ours runs as root that need not, and strangers connect to nothing. Facts of DESIGN §4 and §5. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { userNamed } from '../support/users.js';
import { ask } from './client.js';
import { corePid, fdCount, rule, site, statusOf, supervisorPid } from './kit.js';

/** Connects to a Unix socket as `user`, sends `hex` and prints what came within 300 ms: a word or hex digits. */
const CONNECT = `
const [, user, path, hex] = process.argv;
const passwd = require('fs').readFileSync('/etc/passwd', 'utf8').split('\\n').map((l) => l.split(':')).find((l) => l[0] === user);
process.setgroups([Number(passwd[3])]); process.setgid(Number(passwd[3])); process.setuid(Number(passwd[2]));
const socket = require('net').connect(path);
const parts = [];
const end = (word) => { process.stdout.write(word); process.exit(0); };
socket.on('connect', () => { if (hex !== '') socket.write(Buffer.from(hex, 'hex')); setTimeout(() => end('connected ' + Buffer.concat(parts).toString('hex')), 300); });
socket.on('data', (part) => parts.push(part));
socket.on('end', () => end('closed ' + Buffer.concat(parts).toString('hex')));
socket.on('error', (error) => end(error.code));
`;

function connectAs(user: string, path: string, hello = ''): string {
  return execFileSync(process.execPath, ['-e', CONNECT, user, path, hello], { encoding: 'utf8', cwd: '/' });
}

function modeOf(path: string): string {
  return (statSync(path).mode & 0o7777).toString(8).padStart(4, '0');
}

function sockets(apache: Apache): string[] {
  const dir = apache.instanceDir();
  const apps = readdirSync(`${dir}/apps`).map((name) => `${dir}/apps/${name}`);
  return [`${dir}/core.d/core.sock`, `${dir}/core.d/admin.sock`, ...apps];
}

rule(
  'the core is Apache’s User in all its ids, without groups of root and capabilities',
  { root: true },
  async (scene) => {
    const { apache } = await scene.serve('probe');
    await ask(apache.port, 'a.test', '/');
    const core = corePid(apache);
    const { uid, gid } = userNamed('www-data');
    assert.equal(statusOf(core, 'Uid'), `${uid} ${uid} ${uid} ${uid}`);
    assert.equal(statusOf(core, 'Gid'), `${gid} ${gid} ${gid} ${gid}`);
    assert.equal(statusOf(core, 'Groups'), String(gid));
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
      assert.equal(statusOf(core, set), '0000000000000000', set);
    const environ = readFileSync(`/proc/${core}/environ`, 'latin1')
      .split('\0')
      .map((entry) => entry.split('=')[0]);
    for (const name of environ)
      assert.match(name ?? '', /^(PATH|LANG|TZ|PASSENGER_ROOT|)$/, 'nothing of Apache’s environment');
  },
);

rule('no process of ours but the supervisor is root', { root: true }, async (scene) => {
  const { apache } = await scene.serve('probe');
  await ask(apache.port, 'a.test', '/');
  const roots = apache.processes().filter(({ uid }) => uid === 0);
  assert.deepEqual(
    roots.map(({ pid }) => pid),
    [supervisorPid(apache)],
  );
});

rule('the supervisor has no network socket and the core no listening one', { root: true }, async (scene) => {
  const { apache } = await scene.serve('probe');
  await ask(apache.port, 'a.test', '/');
  for (const table of ['tcp', 'tcp6', 'udp', 'udp6']) {
    const inodes = readFileSync(`/proc/net/${table}`, 'latin1')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/)[9] ?? '');
    for (const pid of [supervisorPid(apache), corePid(apache)]) {
      const held = execFileSync('ls', ['-l', `/proc/${pid}/fd`], { encoding: 'latin1' });
      for (const inode of inodes.filter((entry) => entry !== '' && entry !== '0'))
        assert.ok(!held.includes(`socket:[${inode}]`), `${table} socket in ${pid}`);
    }
  }
});

rule('modes and owners of the instance directory are exactly as designed', { root: true }, async (scene) => {
  const { apache } = await scene.serve('probe');
  await ask(apache.port, 'a.test', '/');
  const dir = apache.instanceDir();
  const { uid } = userNamed('www-data');
  assert.equal(modeOf(dir), '0755');
  assert.equal(statSync(dir).uid, 0);
  for (const name of ['core.d', 'apps']) {
    assert.equal(modeOf(`${dir}/${name}`), '0700', name);
    assert.equal(statSync(`${dir}/${name}`).uid, uid, name);
  }
  for (const path of sockets(apache)) {
    assert.equal(modeOf(path), '0600', path);
    assert.equal(statSync(path).uid, uid, path);
  }
  assert.equal(modeOf(`${dir}/loaders`), '0755');
  for (const name of readdirSync(`${dir}/loaders`)) {
    assert.equal(modeOf(`${dir}/loaders/${name}`), '0644');
    assert.equal(statSync(`${dir}/loaders/${name}`).uid, 0);
  }
  assert.doesNotMatch(readFileSync(`${dir}/properties.json`, 'utf8'), /secret/i);
});

rule('nobody, and the user of an app, can connect to nothing of ours', { root: true }, async (scene) => {
  const { apache } = await scene.serve('probe', '', { owner: 'psgapp1' });
  await ask(apache.port, 'a.test', '/');
  for (const path of sockets(apache)) {
    for (const user of ['nobody', 'psgapp1', 'psgapp2'])
      assert.equal(connectAs(user, path), 'EACCES', `${user} ${path}`);
  }
});

/** HELLO of the wire protocol (core/wire/PROTOCOL.md): right in all but what is named. */
function hello(overrides: { magic?: string; version?: number; secret?: Buffer } = {}): string {
  const payload = Buffer.alloc(56);
  payload.write(overrides.magic ?? 'PSGWIRE1', 0, 'latin1');
  payload.writeUInt16BE(overrides.version ?? 1, 8);
  (overrides.secret ?? randomBytes(32)).copy(payload, 24);
  const head = Buffer.from([0x01, 0, 0, 0, 0, 0, 0, payload.length]);
  return Buffer.concat([head, payload]).toString('hex');
}

rule('Apache’s own user without the secret is rejected by the core', { root: true }, async (scene) => {
  const { apache } = await scene.serve('probe');
  await ask(apache.port, 'a.test', '/');
  apache.allowLog(/PSG3\d{3}/);
  const path = `${apache.instanceDir()}/core.d/core.sock`;
  for (const [what, bytes] of [
    ['wrong secret', hello()],
    ['wrong version', hello({ version: 2 })],
    ['wrong magic', hello({ magic: 'PSGWIRE9' })],
    ['no protocol at all', Buffer.from('GET / HTTP/1.1\r\n\r\n').toString('hex')],
  ] as const) {
    const answer = connectAs('www-data', path, bytes);
    assert.match(answer, /^(closed (87[0-9a-f]*)?|ECONNRESET|EPIPE)$/, `${what}: ${answer}`);
  }
  assert.equal((await ask(apache.port, 'a.test', '/')).status, 200, 'users are not affected');
});

rule(
  'connections that say nothing do not hold the core’s descriptors for ever',
  { root: true, timeoutMs: 120_000 },
  async (scene) => {
    const { apache } = await scene.serve('probe');
    await ask(apache.port, 'a.test', '/');
    const core = corePid(apache);
    const before = fdCount(core);
    const path = `${apache.instanceDir()}/core.d/core.sock`;
    for (let turn = 0; turn < 5; turn += 1) connectAs('www-data', path);
    await eventually(10_000, 'the descriptors are back', () => fdCount(core) <= before + 2);
  },
);

rule('what a client names like our internals never counts', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const answer = await ask(apache.port, 'a.test', '/headers', {
    headers: {
      'X-Passenger-Request': 'x',
      X_Remote_User: 'root',
      'X-Sendfile': '/etc/shadow',
      Content_Length: '5',
      Transfer_Encoding: 'chunked',
    },
  });
  assert.equal(answer.status, 200);
  const seen = answer.json<{ headers: Record<string, string> }>().headers;
  for (const name of ['x_remote_user', 'content_length', 'transfer_encoding'])
    assert.equal(seen[name], undefined, name);
});

rule('no secret stands in argv, log or error page', {}, async (scene) => {
  const app = await scene.app('broken');
  const well = await scene.app('probe');
  const secret = `S${randomBytes(8).toString('hex')}`;
  const apache = await scene.start({
    vhosts: [
      site('a.test', app, `SetEnv API_TOKEN ${secret}\nPassengerAppEnv development`),
      site('b.test', well, `SetEnv API_TOKEN ${secret}`),
    ],
  });
  apache.allowLog(/PSG\d{4}|App \d+ std/);
  const page = await ask(apache.port, 'a.test', `/?token=${secret}`, {
    headers: { Cookie: `c=${secret}`, Authorization: `Bearer ${secret}` },
  });
  assert.equal(page.status, 500);
  await ask(apache.port, 'b.test', '/close-before-head', {
    method: 'POST',
    headers: { Cookie: `c=${secret}` },
  });
  assert.ok(!page.text.includes(secret), 'error page');
  assert.ok(!apache.log().includes(secret), 'log');
  for (const { pid, title } of apache.processes())
    assert.ok(!readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(secret), title);
});
