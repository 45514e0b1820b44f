/**
 * One measurement: a load from another process (wrk, or websocket-load.ts for WebSockets), and what it cost each part of
 * the contender.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Case } from './cases.js';
import type { Contender } from './contenders.js';
import { cpuTimes, type CpuTimes } from './cpu.js';

export interface Sample {
  readonly requests: number;
  readonly perSecond: number;
  /** Median, in milliseconds. */
  readonly latencyMs: number;
  readonly cpuUs: number;
  readonly parts: CpuTimes;
}

interface Load {
  readonly requests: number;
  readonly perSecond: number;
  readonly latencyMs: number;
}

function run(file: string, args: readonly string[]): Promise<string> {
  return new Promise((done, reject) => {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (part: Buffer) => (out += part.toString()));
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? done(out) : reject(new Error(`${file} ended with ${code}`))));
  });
}

const UNIT_MS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000 };

function latencyOf(out: string): number {
  const [, number = '', unit = ''] = /50%\s+([\d.]+)(us|ms|s)/.exec(out) ?? [];
  return Number(number) * (UNIT_MS[unit] ?? Number.NaN);
}

/** For wrk, which takes anything but GET from a script. */
function postScript(directory: string): string {
  const file = join(directory, 'post.lua');
  writeFileSync(file, 'wrk.method = "POST"\nwrk.body = string.rep("x", 1048576)\n');
  return file;
}

async function runWrk(
  url: string,
  { kind, connections }: Case,
  seconds: number,
  directory: string,
): Promise<Load> {
  const script = kind === 'post' ? ['-s', postScript(directory)] : [];
  const args = [
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '--latency',
    '-H',
    'Host: a.test',
    ...script,
    url,
  ];
  const out = await run('wrk', args);
  const requests = Number(/(\d+) requests in/.exec(out)?.[1] ?? 0);
  // Apache closes kept connections when its workers are busy; wrk counts that as an error.
  const broken = [...(/Socket errors: (.*)/.exec(out)?.[1] ?? '').matchAll(/\d+/g)].reduce(
    (sum, [count]) => sum + Number(count),
    0,
  );
  if (requests === 0 || out.includes('Non-2xx') || broken > 2 + requests / 20)
    throw new Error(`not all answers are good\n${out}`);
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(out)?.[1] ?? 0);
  return { requests, perSecond, latencyMs: latencyOf(out) };
}

export interface WebSocketReport {
  readonly open: number;
  readonly failed: number;
  readonly echoes: number;
  readonly seconds: number;
  readonly p50Ms: number;
}

const WEBSOCKET_LOAD = ['--import', 'tsx', resolve(__dirname, 'websocket-load.ts')];

async function runEcho(url: string, { connections }: Case, seconds: number): Promise<Load> {
  const args = [...WEBSOCKET_LOAD, 'echo', url, String(connections), String(seconds)];
  const report = JSON.parse(await run(process.execPath, args)) as WebSocketReport;
  if (report.failed > 0) throw new Error(`${report.failed} WebSockets did not open`);
  const { echoes } = report;
  return { requests: echoes, perSecond: echoes / report.seconds, latencyMs: report.p50Ms };
}

/** @throws Error when not all answers were good */
export async function measure(
  contender: Contender,
  what: Case,
  seconds: number,
  directory: string,
): Promise<Sample> {
  const url = (what.tls ? contender.tlsUrl : contender.url) + what.path;
  const before = cpuTimes(contender.processes(), contender.apps);
  const load =
    what.kind === 'echo' ? await runEcho(url, what, seconds) : await runWrk(url, what, seconds, directory);
  const after = cpuTimes(contender.processes(), contender.apps);
  const part = (role: keyof CpuTimes): number => (after[role] - before[role]) / load.requests;
  const parts = { apache: part('apache'), between: part('between'), app: part('app') };
  return { ...load, cpuUs: parts.apache + parts.between + parts.app, parts };
}

/** Holds `connections` open WebSockets while `during` runs. @throws Error when some do not open */
export async function withIdleWebSockets(
  url: string,
  connections: number,
  during: () => Promise<void>,
): Promise<void> {
  const args = [...WEBSOCKET_LOAD, 'idle', url, String(connections)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((done) => child.once('close', done));
  try {
    const line = await new Promise<string>((done) => {
      child.stdout.once('data', (part: Buffer) => done(part.toString()));
      child.once('close', () => done('{"failed":-1}'));
    });
    const { failed } = JSON.parse(line) as WebSocketReport;
    if (failed !== 0) throw new Error(`${failed} of ${connections} WebSockets did not open`);
    await during();
  } finally {
    child.stdin.end();
    await ended;
  }
}
