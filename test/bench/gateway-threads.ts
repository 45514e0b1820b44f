/**
 * Does a second gateway thread carry more? Pool, books and gateway of one core between an app and a load that are
 * written in C, so that the gateway is what saturates. One and two threads take turns, and each turn is a comparison of
 * its own. Needs the compiled tree (npm run build:ts), a C compiler and two CPU cores.
 * Run: node --import tsx test/bench/gateway-threads.ts [seconds] [rounds] [threads…]
 *
 * Two numbers, because app and load need a share of two cores as well:
 *   capacity  threads / CPU time of the gateway for a request: what it could carry if each of its threads had a core and
 *             its share of the work. Counts no time in which others had the core, so it holds on a busy machine too.
 *   rate      requests per second of the clock: what this machine carries, app and load included. Means something only
 *             where nobody else was running (the busiest thread "waited for a core" next to never with one thread, and
 *             with more of them no longer than app and load need), and can grow no further than to the "ceiling": all
 *             cores or all threads busy, each request as dear as it was.
 */
import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { encodeSettingsBlock } from '../../core/config/settings-block.js';
import { encodeHello, encodeRequest } from '../../core/wire/encoder.js';
import { REQUEST_FLAG } from '../../core/wire/frames.js';
import { privateMb } from './cpu.js';

const SECONDS = Number(process.argv[2] ?? '4');
const ROUNDS = Number(process.argv[3] ?? '3');
const THREADS = process.argv.length > 4 ? process.argv.slice(4).map(Number) : [1, 2];
const CONNECTIONS = 32;
const WARM = 100_000;
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

/** Nanoseconds of a thread so far: on a core, and ready but without one. */
interface ThreadTime {
  readonly ran: number;
  readonly waited: number;
}

interface Round {
  readonly rate: number;
  readonly capacity: number;
  /** CPU cores in use: by the gateway's process, its busiest thread, the app and the load. */
  readonly gateway: number;
  readonly busiest: number;
  readonly others: number;
  /** Share of the time in which the busiest thread wanted to run and another program did. */
  readonly waited: number;
  readonly privateMb: number;
}

function threadTimes(pid: number): Map<string, ThreadTime> {
  return new Map(
    readdirSync(`/proc/${pid}/task`).map((tid) => {
      const [ran, waited] = readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'latin1')
        .split(' ')
        .map(Number);
      return [tid, { ran: ran ?? 0, waited: waited ?? 0 }];
    }),
  );
}

/** What was spent since `before`, in cores. */
function spentSince(pid: number, before: ReadonlyMap<string, ThreadTime>, seconds: number): ThreadTime[] {
  return [...threadTimes(pid)].map(([tid, { ran, waited }]) => {
    const old = before.get(tid) ?? { ran: 0, waited: 0 };
    return { ran: (ran - old.ran) / 1e9 / seconds, waited: (waited - old.waited) / 1e9 / seconds };
  });
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

/** As many exchanges as it takes to compile the gateway, however slow the machine is. */
async function warmUp(tool: string, dir: string, path: string): Promise<void> {
  for (let all = 0, turn = 0; all < WARM && turn < 10; turn += 1) {
    const [exchanges = 0] = await load(tool, dir, path, 1);
    all += exchanges;
  }
}

interface Load {
  readonly tool: string;
  readonly dir: string;
  readonly appSocket: string;
  readonly appPid: number;
}

async function round({ tool, dir, appSocket, appPid }: Load, threads: number): Promise<Round> {
  const path = join(dir, `core-${threads}.sock`);
  const core: ChildProcess = fork(CORE, [path, appSocket, String(threads)], { execArgv: [] });
  await once(core, 'message');
  try {
    await warmUp(tool, dir, path);
    const pid = core.pid ?? 0;
    const before = threadTimes(pid);
    const appBefore = threadTimes(appPid);
    const begun = performance.now();
    const [exchanges = 0, , loadUs = 0] = await load(tool, dir, path, SECONDS);
    const seconds = (performance.now() - begun) / 1000;
    const spent = spentSince(pid, before, seconds);
    const app = spentSince(appPid, appBefore, seconds).reduce((sum, { ran }) => sum + ran, 0);
    const gateway = spent.reduce((sum, { ran }) => sum + ran, 0);
    const busiest = spent.reduce((most, one) => (one.ran > most.ran ? one : most));
    return {
      rate: exchanges / seconds,
      capacity: (threads * exchanges) / seconds / gateway,
      gateway,
      busiest: busiest.ran,
      others: app + loadUs / 1e6 / seconds,
      waited: busiest.waited,
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

/** Median and extremes of the turns' ratios. */
function ratio(rounds: readonly Round[], bases: readonly Round[], pick: (round: Round) => number): string {
  const each = rounds.map((one, turn) => {
    const base = bases[turn];
    return base === undefined ? 1 : pick(one) / pick(base);
  });
  const [least, most] = [Math.min(...each), Math.max(...each)];
  return `x ${median(each).toFixed(2)} (${least.toFixed(2)}-${most.toFixed(2)})`;
}

function report(threads: number, rounds: readonly Round[], bases: readonly Round[]): void {
  const of = (pick: (round: Round) => number): number => median(rounds.map(pick));
  const cores = availableParallelism();
  const ceiling = of((one) => one.rate * Math.min(cores / (one.gateway + one.others), threads / one.gateway));
  const lines = [
    `  ${threads} thread${threads === 1 ? '' : 's'}:`,
    `capacity ${Math.round(of((one) => one.capacity))}/s ${ratio(rounds, bases, (one) => one.capacity)},`,
    `rate ${Math.round(of((one) => one.rate))}/s ${ratio(rounds, bases, (one) => one.rate)}`,
    `of a ceiling of ${Math.round(ceiling)}/s; gateway ${of((one) => (one.gateway / one.rate) * 1e6).toFixed(1)} us,`,
    `app and load ${of((one) => (one.others / one.rate) * 1e6).toFixed(1)} us a request;`,
    `busiest thread ran ${percent(of((one) => one.busiest))}, waited for a core ${percent(of((one) => one.waited))};`,
    `private memory ${of((one) => one.privateMb).toFixed(1)} MB\n`,
  ];
  process.stdout.write(lines.join(' '));
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

async function measure(tool: string, dir: string, name: string, answer: string): Promise<void> {
  const appSocket = join(dir, 'app.sock');
  const file = join(dir, 'answer');
  rmSync(appSocket, { force: true });
  writeFileSync(file, answer);
  const app = spawn(tool, ['app', appSocket, file], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(app.stdout, 'data');
  const setup = { tool, dir, appSocket, appPid: app.pid ?? 0 };
  const results = new Map<number, Round[]>(THREADS.map((threads) => [threads, []]));
  try {
    for (let turn = 0; turn < ROUNDS; turn += 1) {
      for (const threads of THREADS) results.get(threads)?.push(await round(setup, threads));
    }
  } finally {
    app.kill();
  }
  process.stdout.write(`${name}\n`);
  const bases = results.get(THREADS[0] ?? 1) ?? [];
  for (const [threads, rounds] of results) report(threads, rounds, bases);
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
