/**
 * A gateway in a process with a low limit of open files, for limits.test.ts: more connections come than it can take.
 * Prints its log and what it served. The clients have to be in another process: they need descriptors themselves.
 */
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../core/base/clock.js';
import { Log, LogThreshold } from '../../../core/base/log.js';
import { makeAppConfig } from '../../../core/config/app-config.js';
import { ExplicitValues } from '../../../core/config/settings.js';
import { Gateway } from '../../../core/gateway/gateway.js';
import { Listener } from '../../../core/gateway/listener.js';
import { acceptNext } from '../../../core/native.js';
import { eventually } from '../../support/eventually.js';
import { SECRET, ShimClient, TABLE_HASH } from './shim-client.js';

const CROWD = `
  const sockets = Array.from({ length: 100 }, () => require('node:net').connect(process.argv[1]).on('error', () => {}));
  process.stdin.resume().on('end', () => process.exit(0));
  setTimeout(() => console.log('there'), 500);`;

async function main(dir: string): Promise<void> {
  const app = createServer((socket) => {
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'));
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => app.listen(join(dir, 'app.sock'), resolve));
  const facts = { appRoot: '/a', baseUri: '/', documentRoot: '', foundStartupFile: '', env: [] } as const;
  const config = {
    app: makeAppConfig({ ...facts, found: 'node' }, new ExplicitValues().settings('app')),
    request: new ExplicitValues().settings('request'),
    serverName: 'test',
  };
  const target = { path: join(dir, 'app.sock') };
  const session = { target, onDrain: () => undefined, close: () => undefined };
  const write = (_level: string, _room: string, text: string): void => void process.stdout.write(`${text}\n`);
  const gateway = new Gateway(
    {
      source: {
        checkout: () => session,
        reportConnectFailure: () => undefined,
        reportOverdue: () => undefined,
      },
      settings: { get: () => config },
      log: new Log('gateway', { write }, new LogThreshold()),
      version: '0',
    },
    { dataBufferDir: dir, showVersionInHeader: false, responseBufferHighWatermark: 0 },
  );
  const admission = { secret: SECRET, tableHash: TABLE_HASH };
  const listener = new Listener({
    gateway,
    admission,
    peerUid: () => 0,
    peerLeft: () => false,
    acceptNext,
    backlog: 511,
    discard: () => undefined,
    allowedUids: new Set([0]),
    clock: systemClock,
  });
  const path = join(dir, 'core.sock');
  await listener.listen({ path });
  const client = new ShimClient(path);
  const served = async (when: string): Promise<void> => {
    process.stdout.write(`served ${when}: ${(await client.request()).body}\n`);
  };
  await served('before');
  const crowd = spawn(process.execPath, ['-e', CROWD, path], { stdio: ['pipe', 'pipe', 'inherit'] });
  await new Promise((resolve) => crowd.stdout.once('data', resolve));
  await served('during');
  crowd.stdin.end();
  await new Promise((resolve) => crowd.once('exit', resolve));
  await eventually(5000, 'the crowd is gone', () => listener.connections === 1);
  const late = new ShimClient(path);
  process.stdout.write(`served after: ${(await late.request()).body}\n`);
}

const directory = mkdtempSync(join(tmpdir(), 'psg-few-'));
void main(directory).then(
  () => {
    rmSync(directory, { recursive: true, force: true });
    process.exit(0);
  },
  (error: unknown) => {
    process.stderr.write(String(error));
    rmSync(directory, { recursive: true, force: true });
    process.exit(1);
  },
);
