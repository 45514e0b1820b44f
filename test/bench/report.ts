/** From samples to rows, the table, and the targets that were missed. Ratios are those of one round, so that a slow minute cancels out. */
import { LARGE, SMALL, type Case } from './cases.js';
import type { CpuTimes } from './cpu.js';
import type { Sample } from './load.js';

export const YARDSTICK = 'mod_proxy_http';

/** Median and quartiles over the rounds. */
export interface Ratio {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export interface Row {
  readonly what: string;
  readonly name: string;
  readonly perSecond: number;
  readonly latencyMs: number;
  readonly cpuUs: number;
  readonly parts: CpuTimes;
  /** To mod_proxy_http. */
  readonly cpu: Ratio;
  readonly rate: Ratio;
  readonly latency: Ratio;
  /** Why there are no numbers. */
  readonly failure?: string;
}

function quantile(sorted: readonly number[], part: number): number {
  const at = (sorted.length - 1) * part;
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

function ratioOf(values: readonly number[]): Ratio {
  const sorted = values.filter((value) => Number.isFinite(value)).sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), low: quantile(sorted, 0.25), high: quantile(sorted, 0.75) };
}

export function rowOf(
  what: Case,
  name: string,
  samples: readonly Sample[],
  yardstick: readonly Sample[],
): Row {
  const of = (pick: (sample: Sample) => number): number => ratioOf(samples.map(pick)).median;
  const against = (pick: (sample: Sample) => number): Ratio =>
    ratioOf(
      samples.map((sample, round) => {
        const other = yardstick[round];
        return other === undefined ? Number.NaN : pick(sample) / pick(other);
      }),
    );
  return {
    what: what.name,
    name,
    perSecond: of((sample) => sample.perSecond),
    latencyMs: of((sample) => sample.latencyMs),
    cpuUs: of((sample) => sample.cpuUs),
    parts: {
      apache: of((sample) => sample.parts.apache),
      between: of((sample) => sample.parts.between),
      app: of((sample) => sample.parts.app),
    },
    cpu: against((sample) => sample.cpuUs),
    rate: against((sample) => sample.perSecond),
    latency: against((sample) => sample.latencyMs),
  };
}

export function failedRow(what: Case, name: string, failure: string): Row {
  const none = { median: Number.NaN, low: Number.NaN, high: Number.NaN };
  const parts = { apache: Number.NaN, between: Number.NaN, app: Number.NaN };
  const numbers = { perSecond: Number.NaN, latencyMs: Number.NaN, cpuUs: Number.NaN, parts };
  return { what: what.name, name, ...numbers, cpu: none, rate: none, latency: none, failure };
}

const HEAD = [
  'case',
  '',
  'req/s',
  'p50 ms',
  'CPU µs/req',
  'apache',
  'between',
  'app',
  '× CPU',
  '(quartiles)',
  '× rate',
  '× p50',
];

export function table(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    if (row.failure !== undefined) return [row.what, row.name, row.failure];
    const quartiles = `${row.cpu.low.toFixed(2)}–${row.cpu.high.toFixed(2)}`;
    const { apache, between, app } = row.parts;
    return [
      row.what,
      row.name,
      row.perSecond.toFixed(0),
      row.latencyMs.toFixed(2),
      ...[row.cpuUs, apache, between, app].map((us) => us.toFixed(1)),
      row.cpu.median.toFixed(2),
      quartiles,
      row.rate.median.toFixed(2),
      row.latency.median.toFixed(2),
    ];
  });
  const widths = HEAD.map((_, at) =>
    Math.max(...[HEAD, ...lines].filter(({ length }) => length > 3).map((line) => (line[at] ?? '').length)),
  );
  const padded = (line: readonly string[]): string =>
    line
      .map((cell, at) => (at < 2 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  ');
  return [HEAD, ...lines].map(padded).join('\n');
}

/** Core and supervisor, private, idle. */
export const MAX_PRIVATE_MB = 50;
export const MAX_KB_PER_IDLE_WEBSOCKET = 48;
const MAX_CPU = 1.3;
const MAX_CPU_OF_PHUSION = 0.35;
const MIN_RATE_LARGE = 0.9;
const MAX_LATENCY = 1.2;

/** The targets of speed; a case that was not run misses nothing. */
export function missedTargets(rows: readonly Row[]): string[] {
  const missed: string[] = [];
  for (const row of rows.filter(({ name }) => name === 'ours')) {
    const expect = (good: boolean, said: string): void => {
      if (!good) missed.push(`${row.what}: ${said}`);
    };
    const times = (value: number): string => `${value.toFixed(2)} × ${YARDSTICK}`;
    if (row.failure !== undefined) {
      missed.push(`${row.what}: ${row.failure}`);
      continue;
    }
    if (SMALL.test(row.what)) {
      expect(row.cpu.median <= MAX_CPU, `CPU is ${times(row.cpu.median)}, at most ${MAX_CPU}`);
      const phusion = rows.find(({ what, name }) => what === row.what && name === 'Phusion Passenger');
      const part = row.cpuUs / (phusion?.cpuUs ?? Number.POSITIVE_INFINITY);
      expect(
        !(part > MAX_CPU_OF_PHUSION),
        `CPU is ${part.toFixed(2)} × Phusion Passenger, at most ${MAX_CPU_OF_PHUSION}`,
      );
    }
    if (row.what === '12 B x 16')
      expect(
        row.latency.median <= MAX_LATENCY,
        `median latency is ${times(row.latency.median)}, at most ${MAX_LATENCY}`,
      );
    if (LARGE.test(row.what))
      expect(
        row.rate.median >= MIN_RATE_LARGE,
        `rate is ${times(row.rate.median)}, at least ${MIN_RATE_LARGE}`,
      );
    if (row.what.startsWith('WebSocket echo'))
      expect(!(row.rate.median < 1), `rate is ${times(row.rate.median)}, at least 1`);
  }
  return missed;
}
