/**
 * Does a second gateway thread carry more? Pool, books and gateway of one core between an app and a load that are
 * written in C, so that one thread of the gateway is saturated while the rest of the machine is not. One and two threads
 * take turns. Needs the compiled tree (npm run build:ts), a C compiler and two CPU cores.
 * Run: node --import tsx test/bench/gateway-threads.ts [seconds] [rounds] [threads…]
 */
import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { encodeSettingsBlock } from '../../core/config/settings-block.js';
import { encodeHello, encodeRequest } from '../../core/wire/encoder.js';
import { REQUEST_FLAG } from '../../core/wire/frames.js';
import { privateMb } from './cpu.js';

const SECONDS = Number(process.argv[2] ?? '4');
const ROUNDS = Number(process.argv[3] ?? '3');
const THREADS = process.argv.length > 4 ? process.argv.slice(4).map(Number) : [1, 2];
const CONNECTIONS = 32;
const CORE = resolve(__dirname, '../../dist/test/bench/gateway-threads-core.js');
const HEADER_BLOCK =
  'GET / HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\nAccept: text/html,application/xhtml+xml\r\n' +
  'Accept-Encoding: gzip, deflate\r\nAccept-Language: en\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n';

const FIELDS = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Powered-By: bench\r\n';
const fields = (count: number): string =>
  Array.from({ length: count }, (_, index) => `X-Field-${index}: value ${index}\r\n`).join('');
const chunk = (bytes: number): string => `${bytes.toString(16)}\r\n${'x'.repeat(bytes)}\r\n`;
/** The gateway remembers heads that come again; ######## makes each answer another one. */
const ANSWERS: Readonly<Record<string, string>> = {
  '12 bytes, always the same head': `${FIELDS}Content-Length: 12\r\n\r\nhello, world`,
  '12 bytes, always another head': `${FIELDS}ETag: "########"\r\nContent-Length: 12\r\n\r\nhello, world`,
  '512 bytes in 8 chunks, 30 fields': `${FIELDS}ETag: "########"\r\n${fields(27)}Transfer-Encoding: chunked\r\n\r\n${chunk(64).repeat(8)}0\r\n\r\n`,
};

function requestFrame(cached: boolean): Buffer {
  return encodeRequest({
    flags: REQUEST_FLAG.NO_BODY | REQUEST_FLAG.REPLAYABLE | (cached ? REQUEST_FLAG.SETTINGS_CACHED : 0),
    exchangeId: 1n,
    silenceMs: 60_000,
    settings: encodeSettingsBlock({ appRoot: '/srv/bench', found: 'node', foundStartupFile: 'app.js' }),
    cached,
    headerBlock: Buffer.from(HEADER_BLOCK),
  });
}

interface Round {
  readonly rate: number;
  /** CPU cores in use: by the gateway's process, its busiest thread, and the load. */
  readonly gateway: number;
  readonly busiest: number;
  readonly load: number;
  readonly privateMb: number;
}

/** Ticks of each thread of a process. */
function threadTicks(pid: number): Map<string, number> {
  return new Map(
    readdirSync(`/proc/${pid}/task`).map((tid) => {
      const stat = readFileSync(`/proc/${pid}/task/${tid}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return [tid, Number(fields[11]) + Number(fields[12])];
    }),
  );
}

async function load(tool: string, dir: string, path: string, seconds: number): Promise<number[]> {
  const files = ['first', 'again'].map((name) => join(dir, name));
  const child = spawn(tool, ['shim', path, ...files, String(CONNECTIONS), String(seconds)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (bytes: Buffer) => (text += bytes.toString()));
  await once(child, 'close');
  return text.trim().split(' ').map(Number);
}

async function round(tool: string, dir: string, appSocket: string, threads: number): Promise<Round> {
  const path = join(dir, `core-${threads}.sock`);
  const core: ChildProcess = fork(CORE, [path, appSocket, String(threads)], { execArgv: [] });
  await once(core, 'message');
  try {
    await load(tool, dir, path, 1.5);
    const pid = core.pid ?? 0;
    const before = threadTicks(pid);
    const [exchanges = 0, , loadUs = 0] = await load(tool, dir, path, SECONDS);
    const spent = [...threadTicks(pid)].map(
      ([tid, ticks]) => (ticks - (before.get(tid) ?? 0)) / 100 / SECONDS,
    );
    return {
      rate: exchanges / SECONDS,
      gateway: spent.reduce((sum, cores) => sum + cores, 0),
      busiest: Math.max(...spent),
      load: loadUs / 1e6 / SECONDS,
      privateMb: privateMb(pid),
    };
  } finally {
    core.disconnect();
    await once(core, 'exit');
    rmSync(path, { force: true });
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

async function measure(tool: string, dir: string, name: string, answer: string): Promise<void> {
  const appSocket = join(dir, 'app.sock');
  const file = join(dir, 'answer');
  rmSync(appSocket, { force: true });
  writeFileSync(file, answer);
  const app = spawn(tool, ['app', appSocket, file], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(app.stdout, 'data');
  const results = new Map<number, Round[]>(THREADS.map((threads) => [threads, []]));
  try {
    for (let turn = 0; turn < ROUNDS; turn += 1) {
      for (const threads of THREADS) results.get(threads)?.push(await round(tool, dir, appSocket, threads));
    }
  } finally {
    app.kill();
  }
  const base = median((results.get(THREADS[0] ?? 1) ?? []).map(({ rate }) => rate));
  for (const [threads, rounds] of results) {
    const of = (pick: (round: Round) => number): number => median(rounds.map(pick));
    const rate = of((one) => one.rate);
    process.stdout.write(
      `${name}, ${threads} thread${threads === 1 ? '' : 's'}: ${Math.round(rate)}/s (x ${(rate / base).toFixed(2)}; ` +
        `rounds ${rounds.map((one) => Math.round(one.rate)).join(' ')}), cores: gateway ${of((one) => one.gateway).toFixed(2)} ` +
        `(busiest thread ${of((one) => one.busiest).toFixed(2)}), load ${of((one) => one.load).toFixed(2)}, ` +
        `private memory ${of((one) => one.privateMb).toFixed(1)} MB\n`,
    );
  }
}

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'psg-threads-'));
  try {
    const tool = join(dir, 'gateway_load');
    execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-o', tool, join(__dirname, 'gateway_load.c')]);
    const hello = encodeHello({ generation: 1, tableHash: '0011223344556677', secret: Buffer.alloc(32, 7) });
    writeFileSync(join(dir, 'first'), Buffer.concat([hello, requestFrame(false)]));
    writeFileSync(join(dir, 'again'), requestFrame(true));
    for (const [name, answer] of Object.entries(ANSWERS)) await measure(tool, dir, name, answer);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

void main();
