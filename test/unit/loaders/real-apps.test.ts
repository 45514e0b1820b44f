/** Apps of real frameworks start unchanged below the preload and answer over the inherited socket. */
import assert from 'node:assert';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import http from 'node:http';
import type net from 'node:net';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { eventually } from '../../support/eventually.js';
import { ActivatedApp } from './activated-app.js';

const APPS = path.join(__dirname, '../../apps');
const skip = existsSync(path.join(APPS, 'node_modules')) ? false : 'needs `npm ci` in test/apps';

async function startApp(t: TestContext, file: string): Promise<ActivatedApp> {
  return (await ActivatedApp.start(t, '', { file: path.join(APPS, file) })).ready();
}

function socketInode(link: string): string | undefined {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(link))?.[1];
  } catch {
    return undefined; // closed meanwhile
  }
}

/** Sockets in state LISTEN that the process has on TCP ports, by inode. */
function listeningPorts(pid: number): number {
  const inodes = new Set(readdirSync(`/proc/${pid}/fd`).map((fd) => socketInode(`/proc/${pid}/fd/${fd}`)));
  const rows = execFileSync('cat', ['/proc/net/tcp', '/proc/net/tcp6'], { encoding: 'utf8' }).split('\n');
  return rows.filter((row) => {
    const fields = row.trim().split(/\s+/);
    return fields[3] === '0A' && inodes.has(fields[9]);
  }).length;
}

const HELLO = [
  { file: 'express-app/app.js', target: '/', answer: 'hello from express' },
  { file: 'fastify-app/app.js', target: '/', answer: 'hello from fastify' },
  { file: 'koa-app/server.js', target: '/', answer: 'hello from koa' },
  { file: 'hono-app/index.mjs', target: '/', answer: 'hello from hono' },
  { file: 'socket-io-app/app.js', target: '/', answer: 'hello from socket.io' },
  { file: 'sockjs-app/app.js', target: '/', answer: 'hello from sockjs' },
  { file: 'json-server-app/app.js', target: '/posts/1', answer: '"title": "hello from json-server"' },
  { file: 'ws-app/app.js', target: '/', answer: 'Upgrade Required' },
];

for (const { file, target, answer } of HELLO) {
  test(`${file} answers over the socket and opens no port`, { skip }, async (t) => {
    const app = await startApp(t, file);
    const text = await app.get(target);
    assert.ok(text.includes(answer), text);
    assert.strictEqual(listeningPorts(Number(app.child.pid)), 0);
    app.shutdown();
    assert.deepStrictEqual(await app.exited(), { code: 0, signal: null });
  });
}

for (const file of ['express-app/app.js', 'fastify-app/app.js']) {
  test(`${file} that trusts the loopback proxy sees the forwarded address`, { skip }, async (t) => {
    const app = await startApp(t, file);
    assert.strictEqual(await app.get('/ip', undefined, { 'X-Forwarded-For': '203.0.113.7' }), '203.0.113.7');
  });
}

test('fastify reports the socket as its address', { skip }, async (t) => {
  const app = await startApp(t, 'fastify-app/app.js');
  assert.deepStrictEqual(JSON.parse(await app.get('/addresses')), [app.socketPath]);
  await app.printed(`fastify is listening at ${app.socketPath}`);
});

test('socket.io speaks polling over the socket', { skip }, async (t) => {
  const app = await startApp(t, 'socket-io-app/app.js');
  assert.match(await app.get('/socket.io/?EIO=4&transport=polling'), /^0\{"sid":"/);
});

test('a WebSocket opens over the socket', { skip }, async (t) => {
  const app = await startApp(t, 'ws-app/app.js');
  const upgrade = http.get({
    socketPath: app.socketPath,
    headers: {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    },
  });
  const [response, socket] = await new Promise<[http.IncomingMessage, net.Socket]>((resolve, reject) => {
    upgrade.on('upgrade', (answer, stream) => resolve([answer, stream]));
    upgrade.on('error', reject);
  });
  assert.strictEqual(response.headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
  // "hi" in one frame with an all-zero mask; the echo comes back unmasked.
  socket.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]));
  const [echo] = await new Promise<Buffer[]>((resolve) => socket.once('data', (data) => resolve([data])));
  assert.deepStrictEqual(echo, Buffer.from([0x81, 0x02, 0x68, 0x69]));
  socket.destroy();
  await eventually(5000, 'the app is still there', () => app.exit === undefined);
});
