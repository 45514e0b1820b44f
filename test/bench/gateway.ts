/**
 * Micro-benchmark of the gateway alone: a fake shim on Unix sockets, the gateway in a process of its own, a real
 * node:http app in a third. Prints CPU microseconds of the gateway process per request, user and system.
 * Run: node --import tsx test/bench/gateway.ts [requests] [body bytes]. PROFILE=dir writes a CPU profile there.
 */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { linkSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeHello, encodeRequest } from '../../core/wire/encoder.js';
import { FRAME, REQUEST_FLAG } from '../../core/wire/frames.js';

interface Usage {
  readonly cpu: NodeJS.CpuUsage;
  readonly rss: number;
}

const REQUESTS = Number(process.argv[2] ?? '60000');
const BODY = Number(process.argv[3] ?? '12');
const APP_SOURCE = `
  const body = Buffer.alloc(${BODY}, 'x');
  require('node:http').createServer({ keepAliveTimeout: 0 }, (request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length });
    response.end(body);
  }).listen(process.argv[1], () => console.log('ready'));`;
const HEADER_BLOCK =
  'GET / HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: wrk/4.1.0 (bench)\r\nAccept: text/html,application/xhtml+xml\r\n' +
  'Accept-Encoding: gzip, deflate\r\nAccept-Language: en\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n' +
  'X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: bench.test\r\nX-Forwarded-Port: 80\r\n';

function requestFrame(cached: boolean): Buffer {
  return encodeRequest({
    flags: REQUEST_FLAG.NO_BODY | REQUEST_FLAG.REPLAYABLE | (cached ? REQUEST_FLAG.SETTINGS_CACHED : 0),
    exchangeId: 1n,
    silenceMs: 60_000,
    settings: Buffer.from('bench'),
    cached,
    headerBlock: Buffer.from(HEADER_BLOCK),
  });
}

/** One connection that asks again as soon as END has come; END is recognised as the last 8 bytes of a read. */
function client(path: string, count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const again = requestFrame(true);
    let left = count;
    socket.on('data', (chunk) => {
      const at = chunk.length - 8;
      if (chunk.readUInt32BE(at) !== (FRAME.END << 24) >>> 0 || chunk.readUInt32BE(at + 4) !== 0) return;
      left -= 1;
      if (left > 0) socket.write(again);
      else socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => (left === 0 ? resolve() : reject(new Error('connection lost'))));
    const hello = encodeHello({ generation: 1, tableHash: '0011223344556677', secret: Buffer.alloc(32, 7) });
    socket.write(Buffer.concat([hello, requestFrame(false)]));
  });
}

async function usage(core: ChildProcess): Promise<Usage> {
  core.send('usage');
  const [answer] = (await once(core, 'message')) as [Usage];
  return answer;
}

async function round(
  core: ChildProcess,
  path: string,
  connections: number,
  requests: number,
): Promise<string> {
  const before = await usage(core);
  const start = performance.now();
  await Promise.all(Array.from({ length: connections }, () => client(path, requests / connections)));
  const seconds = (performance.now() - start) / 1000;
  const after = await usage(core);
  const user = (after.cpu.user - before.cpu.user) / requests;
  const system = (after.cpu.system - before.cpu.system) / requests;
  const rate = Math.round(requests / seconds);
  const rss = Math.round(after.rss / 1e6);
  return `${connections} connections: ${(user + system).toFixed(1)} us (user ${user.toFixed(1)}, system ${system.toFixed(1)}), ${rate}/s, rss ${rss} MB`;
}

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'psg-bench-'));
  const appSocket = join(dir, 'app.sock');
  const app = spawn(process.execPath, ['-e', APP_SOURCE, appSocket], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(app.stdout, 'data');
  const path = join(dir, 'core.sock');
  const front = createServer();
  await new Promise<void>((resolve) => front.listen(path, resolve));
  const fd = (front as unknown as { _handle: { fd: number } })._handle.fd;
  const profile = process.env['PROFILE'];
  const core = fork(join(__dirname, 'gateway-core.ts'), [appSocket], {
    stdio: ['ignore', 'inherit', 'inherit', fd, 'ipc'],
    execArgv: [
      '--import',
      'tsx',
      ...(profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]),
    ],
  });
  await once(core, 'message');
  // The gateway process has the socket now and nobody here may accept on it. Closing takes the name away, so that
  // the clients use another name of the same socket.
  const second = join(dir, 'second.sock');
  linkSync(path, second);
  front.close();
  try {
    await round(core, second, 16, 20_000);
    for (const connections of [1, 16, 64]) {
      const requests = Math.floor(REQUESTS / connections) * connections;
      process.stdout.write(`${await round(core, second, connections, requests)}\n`);
    }
  } finally {
    core.send('end');
    app.kill();
    rmSync(dir, { recursive: true, force: true });
  }
}

void main().then(() => process.exit(0));
