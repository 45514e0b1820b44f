/** What waits in a tunnel is bounded: whoever takes nothing holds its other end back, not memory of ours. */
import assert from 'node:assert/strict';
import * as tls from 'node:tls';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { serveTls } from './certificate.js';
import { RawClient } from './client.js';
import { apacheChildren, corePid, needsPackage, rssKb, rule } from './kit.js';

/** Far more than sockets and pieces on the way can hold. */
const TOTAL = 64 << 20;
const BOUND_KB = 12 * 1024;

interface Client {
  readonly socket: { write(data: Buffer | string): boolean; pause(): void; destroy(): void };
  readonly received: () => number;
}

async function open(port: number, secure: boolean): Promise<Client> {
  if (!secure) {
    const client = await RawClient.open(port);
    return { socket: client.socket, received: () => client.received.length };
  }
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, servername: 'a.test' });
  let received = 0;
  socket.on('data', (part: Buffer) => (received += part.length));
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  return { socket, received: () => received };
}

async function upgraded(port: number, secure: boolean, path: string): Promise<Client> {
  const client = await open(port, secure);
  client.socket.write(`GET ${path} HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n`);
  await eventually(10_000, 'the 101', () => client.received() > 0);
  return client;
}

function memoryKb(apache: Apache): number {
  return [corePid(apache), ...apacheChildren(apache)].reduce((sum, pid) => sum + rssKb(pid), 0);
}

rule('a tunnel that nobody takes from holds little memory', { skip: needsPackage('ws') }, async (scene) => {
  const { apache, tlsPort } = await serveTls(scene, '', [], { app: 'tunnel-app' });
  for (const secure of [false, true]) {
    const port = secure ? tlsPort : apache.port;
    (await upgraded(port, secure, '/echo')).socket.destroy();
    const before = memoryKb(apache);
    const reader = await upgraded(port, secure, `/flood?n=${TOTAL}`);
    reader.socket.pause();
    const writer = await upgraded(port, secure, '/deaf');
    for (let sent = 0; sent < TOTAL; sent += 1 << 20) writer.socket.write(Buffer.alloc(1 << 20));
    await new Promise((turn) => setTimeout(turn, 1500));
    const grown = memoryKb(apache) - before;
    assert.ok(grown < BOUND_KB, `${secure ? 'wss' : 'ws'}: ${grown} KB more`);
    assert.ok(reader.received() < TOTAL / 2, 'the app is held back');
    reader.socket.destroy();
    writer.socket.destroy();
  }
});
