#!/usr/bin/env node
/** `passenger-status`: what the pool of a running instance looks like, for people (pool) or programs (json). */
import { Option } from 'commander';
import { readProcessFacts } from '../admin/memory.js';
import { VERSION } from '../base/version.js';
import { readView } from './admin-client.js';
import { headText, poolText, type FactsOf, type PoolView } from './pool-report.js';
import { createProgram, runProgram } from './program.js';
import { selectInstance } from './select-instance.js';

interface Options {
  readonly show: 'pool' | 'json';
  readonly header: boolean;
}

/** The average over the life of the process, as ps tells it. */
const factsOf: FactsOf = (pid, uptimeMs) => {
  const facts = readProcessFacts(pid);
  if (facts === undefined) return undefined;
  return { cpuPercent: (100 * facts.cpuMs) / Math.max(uptimeMs, 1), residentBytes: facts.residentBytes };
};

async function show(wanted: string | undefined, options: Options): Promise<void> {
  const instance = selectInstance(wanted, process.env);
  const body = await readView(instance, '/pool.json');
  if (options.show === 'json') {
    process.stdout.write(body.endsWith('\n') ? body : `${body}\n`);
    return;
  }
  const { name, serverSoftware } = instance;
  const now = new Date();
  if (options.header)
    process.stdout.write(headText({ version: VERSION, instance: name, serverSoftware }, now));
  process.stdout.write(poolText(JSON.parse(body) as PoolView, factsOf));
}

const program = createProgram('passenger-status', 'Shows what a running instance does.')
  .argument('[instance]', 'name of the instance, or how it begins')
  .addOption(new Option('--show <what>', 'what to show').choices(['pool', 'json']).default('pool'))
  .option('--no-header', 'without version, date and instance')
  .action(show);

void runProgram(program);
