#!/usr/bin/env node
/** `passenger-config`: which instances run, and facts about this installation. */
import { findInstances, registryDirectories, type Instance } from '../instance/instances.js';
import { VERSION } from '../base/version.js';
import { ROOT } from './installation.js';
import { CommandError, createProgram, runProgram } from './program.js';

const FACTS: Readonly<Record<string, () => string>> = { root: () => ROOT, version: () => VERSION };

function table(instances: readonly Instance[]): string {
  const row = (name: string, pid: string, text: string): string =>
    `${name.padEnd(25)}  ${pid.padEnd(7)}  ${text}\n`;
  const rows = instances.map(({ name, supervisorPid, serverSoftware }) =>
    row(name, String(supervisorPid), serverSoftware),
  );
  return `${row('Name', 'PID', 'Description')}${'-'.repeat(74)}\n${rows.join('')}`;
}

const program = createProgram('passenger-config', 'Facts about instances and this installation.');

program
  .command('list-instances')
  .description('list the running instances')
  .option('--json', 'print JSON')
  .option('-q, --quiet', 'print nothing if there is no instance')
  .action((options: { json?: true; quiet?: true }) => {
    const instances = findInstances(registryDirectories(process.env));
    if (options.json === true) process.stdout.write(`${JSON.stringify(instances, null, 2)}\n`);
    else if (instances.length > 0) process.stdout.write(table(instances));
    else if (options.quiet !== true) process.stdout.write('There are no Passenger TS instances running.\n');
  });

program
  .command('about')
  .description('print a fact about this installation')
  .argument('<what>', Object.keys(FACTS).join(' or '))
  .action((what: string) => {
    const fact = FACTS[what];
    if (fact === undefined)
      throw new CommandError(`There is no fact "${what}"; there are: ${Object.keys(FACTS).join(', ')}`);
    process.stdout.write(`${fact()}\n`);
  });

void runProgram(program);
