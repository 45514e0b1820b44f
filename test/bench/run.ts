/**
 * `npm run bench`: CPU µs per request (user + system of all processes on the way) and requests per second of ours,
 * mod_proxy_http, a static file and Phusion Passenger, side by side in one run, interleaved in rounds so that the machine's
 * moods hit all alike. The numbers that count are the ratios to mod_proxy_http. `--check` fails when a target is missed.
 */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type Contender, Contenders } from './contenders.js';
import { type CpuTimes, cpuTimes, privateMb } from './cpu.js';

const CONNECTIONS = [16, 64] as const;
/** Issue 2: ours costs at most this times mod_proxy_http, and core and supervisor have at most these MB private. */
const MAX_RATIO = 1.5;
const MAX_PRIVATE_MB = 50;

interface Sample {
  readonly requests: number;
  readonly perSecond: number;
  readonly cpuUs: number;
  readonly parts: CpuTimes;
}

interface Row {
  readonly name: string;
  readonly connections: number;
  readonly perSecond: number;
  readonly cpuUs: number;
  readonly parts: CpuTimes;
  readonly ratio: number;
}

function runWrk(url: string, connections: number, seconds: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '-H', 'Host: a.test', url];
    const child = spawn('wrk', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (part: Buffer) => (out += part.toString()));
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(out) : reject(new Error(`wrk ended with ${code}`))));
  });
}

async function measure(contender: Contender, connections: number, seconds: number): Promise<Sample> {
  const before = cpuTimes(contender.processes(), contender.apps);
  const out = await runWrk(contender.url, connections, seconds);
  const after = cpuTimes(contender.processes(), contender.apps);
  const requests = Number(/(\d+) requests in/.exec(out)?.[1] ?? 0);
  // Apache closes a kept connection now and then when its workers are busy; wrk counts that as an error.
  const broken = [...(/Socket errors: (.*)/.exec(out)?.[1] ?? '').matchAll(/\d+/g)].reduce(
    (sum, [count]) => sum + Number(count),
    0,
  );
  if (requests === 0 || out.includes('Non-2xx') || broken > requests / 1000)
    throw new Error(`${contender.name} with ${connections} connections: not all answers are good\n${out}`);
  const part = (role: keyof CpuTimes): number => (after[role] - before[role]) / requests;
  const parts = { apache: part('apache'), between: part('between'), app: part('app') };
  return {
    requests,
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(out)?.[1] ?? 0),
    cpuUs: parts.apache + parts.between + parts.app,
    parts,
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? 0)) / 2;
}

/** Samples by contender and number of connections; all contenders take their turn in each round. */
async function measureAll(
  list: readonly Contender[],
  rounds: number,
  seconds: number,
): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>();
  for (const contender of list) await runWrk(contender.url, 16, 1); // warm up
  for (let round = 0; round < rounds; round += 1) {
    for (const connections of CONNECTIONS) {
      for (const contender of list) {
        const key = `${contender.name}/${connections}`;
        const sample = await measure(contender, connections, seconds);
        samples.set(key, [...(samples.get(key) ?? []), sample]);
        await pause(200); // connections of the last run close
      }
    }
  }
  return samples;
}

function rowsOf(list: readonly Contender[], samples: Map<string, Sample[]>): Row[] {
  return CONNECTIONS.flatMap((connections) => {
    const yardstick = samples.get(`mod_proxy_http/${connections}`) ?? [];
    return list.map(({ name }) => {
      const own = samples.get(`${name}/${connections}`) ?? [];
      const of = (pick: (sample: Sample) => number): number => median(own.map(pick));
      return {
        name,
        connections,
        perSecond: of((sample) => sample.perSecond),
        cpuUs: of((sample) => sample.cpuUs),
        parts: {
          apache: of((sample) => sample.parts.apache),
          between: of((sample) => sample.parts.between),
          app: of((sample) => sample.parts.app),
        },
        // Of the same round, so that a slow minute of the machine cancels out.
        ratio: median(own.map((sample, round) => sample.cpuUs / (yardstick[round]?.cpuUs ?? Number.NaN))),
      };
    });
  });
}

interface Memory {
  readonly supervisor: number;
  readonly core: number;
}

function memoryOf(ours: Contender | undefined): Memory {
  const of = (title: string): number => {
    const found = ours?.processes().find((process) => process.title.startsWith(title));
    return found === undefined ? Number.NaN : privateMb(found.pid);
  };
  return { supervisor: of('Passenger supervisor'), core: of('Passenger core') };
}

function table(rows: readonly Row[]): string {
  const head = ['', 'conns', 'req/s', 'CPU µs/req', 'apache', 'between', 'app', '× mod_proxy'];
  const lines = rows.map((row) => [
    row.name,
    String(row.connections),
    row.perSecond.toFixed(0),
    row.cpuUs.toFixed(1),
    row.parts.apache.toFixed(1),
    row.parts.between.toFixed(1),
    row.parts.app.toFixed(1),
    row.ratio.toFixed(2),
  ]);
  const widths = head.map((_, at) => Math.max(...[head, ...lines].map((line) => (line[at] ?? '').length)));
  return [head, ...lines]
    .map((line) =>
      line
        .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
        .join('  '),
    )
    .join('\n');
}

function missedTargets(rows: readonly Row[], memory: Memory): string[] {
  const slow = rows
    .filter((row) => row.name === 'ours' && !(row.ratio <= MAX_RATIO))
    .map(
      (row) =>
        `at ${row.connections} connections ours costs ${row.ratio.toFixed(2)} × mod_proxy_http, at most ${MAX_RATIO}`,
    );
  const total = memory.supervisor + memory.core;
  const fat =
    total <= MAX_PRIVATE_MB
      ? []
      : [`supervisor and core have ${total.toFixed(1)} MB private, at most ${MAX_PRIVATE_MB}`];
  return [...slow, ...fat];
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '4' },
      rounds: { type: 'string', default: '3' },
      json: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
    },
  });
  const contenders = new Contenders();
  const cleanUp = async (): Promise<void> => {
    await contenders.stop();
    for (const dir of contenders.directories) rmSync(dir, { recursive: true, force: true });
  };
  // The servers are daemons: they would outlive an interrupted run.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void cleanUp().finally(() => process.exit(130)));
  try {
    await contenders.start();
    await pause(3000); // idle: start-up garbage is collected, timers have fired once
    const memory = memoryOf(contenders.list.find(({ name }) => name === 'ours'));
    const samples = await measureAll(contenders.list, Number(values.rounds), Number(values.seconds));
    const after = memoryOf(contenders.list.find(({ name }) => name === 'ours'));
    const rows = rowsOf(contenders.list, samples);
    const missed = missedTargets(rows, memory);
    if (values.json) {
      process.stdout.write(
        `${JSON.stringify({ rows, privateMb: memory, privateMbAfterLoad: after, missed }, null, 2)}\n`,
      );
    } else {
      const mb = ({ supervisor, core }: Memory): string =>
        `supervisor ${supervisor.toFixed(1)} MB, core ${core.toFixed(1)} MB`;
      process.stdout.write(
        `${table(rows)}\n\nprivate memory, idle: ${mb(memory)}; after the load: ${mb(after)}\n`,
      );
      for (const target of missed) process.stdout.write(`MISSED: ${target}\n`);
    }
    return values.check && missed.length > 0 ? 1 : 0;
  } finally {
    await cleanUp();
  }
}

main().then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  },
);
