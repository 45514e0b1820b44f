/**
 * `npm run bench`: CPU µs per request (user + system of all processes on the way), rate and median latency of ours,
 * mod_proxy_http, Phusion Passenger and a static file, side by side in one run, interleaved in short rounds so that the
 * machine's moods hit all alike. What counts are the ratios to mod_proxy_http. Options: --quick (two cases against
 * mod_proxy_http), --only TEXT[,TEXT] (cases whose name contains it), --seconds, --rounds, --json, and --check, which
 * fails when a target is missed.
 */
import { readFileSync, rmSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { makeTemporaryDirectory } from '../../core/cli/staged-root.js';
import { CASES, IDLE, type Case } from './cases.js';
import { type Contender, Contenders } from './contenders.js';
import { privateMb } from './cpu.js';
import { measure, withIdleWebSockets, type Sample } from './load.js';
import {
  failedRow,
  MAX_KB_PER_IDLE_WEBSOCKET,
  MAX_PRIVATE_MB,
  missedTargets,
  type Row,
  rowOf,
  table,
  YARDSTICK,
} from './report.js';

interface Options {
  readonly quick: boolean;
  readonly only: readonly string[];
  readonly seconds: number;
  readonly rounds: number;
}

function isWanted(name: string, { only }: Options): boolean {
  return only.length === 0 || only.some((text) => name.includes(text));
}

/** A static file says something about small answers only, and nobody but us and mod_proxy_http knows WebSockets. */
function takesPart(name: string, what: Case, { quick }: Options): boolean {
  if (name === 'ours' || name === YARDSTICK) return true;
  if (quick) return false;
  return name === 'static file' ? what.path === '' && what.kind === 'get' : what.kind !== 'echo';
}

/** What has come out for one contender so far. */
class Series {
  readonly samples: Sample[] = [];
  failure: string | undefined;

  constructor(readonly contender: Contender) {}

  async measure(what: Case, seconds: number, dir: string, kept: boolean): Promise<void> {
    if (this.failure !== undefined) return;
    try {
      const sample = await measure(this.contender, what, seconds, dir);
      if (kept) this.samples.push(sample);
    } catch (error) {
      this.failure = error instanceof Error ? error.message : String(error);
    }
    await pause(100); // connections of this run close
  }
}

/** All contenders take their turn in each round; the first round warms up. */
async function measureCase(
  what: Case,
  list: readonly Contender[],
  options: Options,
  dir: string,
): Promise<Row[]> {
  const all = list
    .filter(({ name }) => takesPart(name, what, options))
    .map((contender) => new Series(contender));
  for (let round = -1; round < options.rounds; round += 1) {
    const kept = round >= 0;
    for (const series of all) await series.measure(what, kept ? options.seconds : 1, dir, kept);
  }
  const yardstick = all.find(({ contender }) => contender.name === YARDSTICK)?.samples ?? [];
  return all.map(({ contender: { name }, failure, samples }) =>
    failure === undefined ? rowOf(what, name, samples, yardstick) : failedRow(what, name, failure),
  );
}

interface Memory {
  readonly supervisor: number;
  readonly core: number;
  readonly apache: number;
}

/** Private memory of our processes in MB. */
function memoryOf(ours: Contender): Memory {
  const of = (part: string): number =>
    ours
      .processes()
      .filter(({ title }) => title.includes(part))
      .reduce((sum, { pid }) => sum + privateMb(pid), 0);
  return { supervisor: of('Passenger supervisor'), core: of('Passenger core'), apache: of('apache2') };
}

interface IdleCost {
  readonly connections: number;
  readonly apacheKb: number;
  readonly coreKb: number;
  readonly failure?: string;
}

function openFilesOf(pid: number | 'self'): number {
  const limits = readFileSync(`/proc/${pid}/limits`, 'latin1');
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 1024);
}

/** The clients are in one process, and so is the other end in the app, with our limit; the core needs two for each. */
function idleConnections(ours: Contender): number {
  const core = ours.processes().find(({ title }) => title.includes('Passenger core'))?.pid ?? 'self';
  return Math.min(IDLE.connections, openFilesOf('self') - 500, Math.floor(openFilesOf(core) / 2) - 100);
}

async function measureIdle(ours: Contender): Promise<IdleCost> {
  const connections = idleConnections(ours);
  const before = memoryOf(ours);
  let during = before;
  try {
    await withIdleWebSockets(ours.url, connections, async () => {
      await pause(1000);
      during = memoryOf(ours);
    });
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    return { connections, apacheKb: Number.NaN, coreKb: Number.NaN, failure };
  }
  const each = (part: keyof Memory): number => ((during[part] - before[part]) * 1024) / connections;
  return { connections, apacheKb: each('apache'), coreKb: each('core') };
}

interface Report {
  readonly rows: Row[];
  privateMb?: Memory;
  privateMbAfterLoad?: Memory;
  idle?: IdleCost;
}

/** The cases that want one number of app processes. */
async function measureSet(
  apps: 1 | 4,
  contenders: Contenders,
  cases: readonly Case[],
  options: Options,
  report: Report,
): Promise<void> {
  const dir = makeTemporaryDirectory('psg-bench-');
  contenders.directories.push(dir);
  await contenders.start();
  const ours = contenders.list.find(({ name }) => name === 'ours');
  await pause(3000); // idle: start-up garbage is collected, timers have fired once
  if (ours !== undefined && apps === 1) report.privateMb = memoryOf(ours);
  for (const what of cases) {
    process.stderr.write(`${what.name}\n`);
    report.rows.push(...(await measureCase(what, contenders.list, options, dir)));
  }
  if (ours === undefined || apps !== 1) return;
  report.privateMbAfterLoad = memoryOf(ours);
  if (!options.quick && isWanted(IDLE.name, options)) report.idle = await measureIdle(ours);
}

function missedInAll(report: Report): string[] {
  const missed = missedTargets(report.rows);
  const { privateMb: memory, idle } = report;
  if (memory !== undefined && memory.supervisor + memory.core > MAX_PRIVATE_MB)
    missed.push(
      `supervisor and core have ${(memory.supervisor + memory.core).toFixed(1)} MB private, at most ${MAX_PRIVATE_MB}`,
    );
  if (idle !== undefined && idle.connections < IDLE.connections)
    missed.push(`${IDLE.name}: ${idle.connections} instead of ${IDLE.connections}, for want of descriptors`);
  if (idle?.failure !== undefined) missed.push(`${IDLE.name}: ${idle.failure}`);
  else if (idle !== undefined && idle.apacheKb > MAX_KB_PER_IDLE_WEBSOCKET)
    missed.push(
      `${IDLE.name}: ${idle.apacheKb.toFixed(0)} KB of Apache each, at most ${MAX_KB_PER_IDLE_WEBSOCKET}`,
    );
  return missed;
}

function print(report: Report, missed: readonly string[]): void {
  const mb = (memory: Memory | undefined): string =>
    memory === undefined
      ? 'not measured'
      : `supervisor ${memory.supervisor.toFixed(1)} MB, core ${memory.core.toFixed(1)} MB`;
  process.stdout.write(`${table(report.rows)}\n\n`);
  process.stdout.write(
    `private memory, idle: ${mb(report.privateMb)}; after the load: ${mb(report.privateMbAfterLoad)}\n`,
  );
  const { idle } = report;
  if (idle !== undefined && idle.failure === undefined)
    process.stdout.write(
      `${idle.connections} idle WebSockets: ${idle.apacheKb.toFixed(1)} KB of Apache and ${idle.coreKb.toFixed(1)} KB of the core each\n`,
    );
  for (const target of missed) process.stdout.write(`MISSED: ${target}\n`);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '1' },
      rounds: { type: 'string', default: '7' },
      only: { type: 'string', default: '' },
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
    },
  });
  const only = values.only.split(',').filter((text) => text !== '');
  const { quick } = values;
  const options = { quick, only, seconds: Number(values.seconds), rounds: Number(values.rounds) };
  const cases = CASES.filter((what) => (!quick || what.quick) && isWanted(what.name, options));
  const sets = ([1, 4] as const).map((apps) => ({ apps, contenders: new Contenders(apps) }));
  const cleanUp = async (): Promise<void> => {
    for (const { contenders } of sets) {
      await contenders.stop();
      for (const dir of contenders.directories) rmSync(dir, { recursive: true, force: true });
    }
  };
  // The servers are daemons: they would outlive an interrupted run.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void cleanUp().finally(() => process.exit(130)));
  const report: Report = { rows: [] };
  try {
    for (const { apps, contenders } of sets) {
      const own = cases.filter((what) => what.apps === apps);
      const idle = apps === 1 && !quick && isWanted(IDLE.name, options);
      if (own.length > 0 || idle) await measureSet(apps, contenders, own, options, report);
    }
  } finally {
    await cleanUp();
  }
  const missed = missedInAll(report);
  if (values.json) process.stdout.write(`${JSON.stringify({ ...report, missed }, null, 2)}\n`);
  else print(report, missed);
  return values.check && missed.length > 0 ? 1 : 0;
}

main().then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  },
);
