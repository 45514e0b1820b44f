#!/usr/bin/env node
/** `passenger`: version and help; the work is done by the commands beside it. */
import { createProgram, runProgram } from './program.js';

const COMMANDS = `
Available commands:
  passenger-status                  what an Apache with Passenger TS runs
  passenger-config                  instances and facts about this installation
  passenger-install-apache2-module  build the module, print Apache's configuration`;

const program = createProgram('passenger', 'Application server for Node.js inside Apache.')
  .addHelpText('after', COMMANDS)
  .allowExcessArguments(false)
  .argument('[command]', '"help" prints this text')
  .action((command: string | undefined) => {
    if (command === undefined || command === 'help') program.outputHelp();
    else program.error(`error: unknown command '${command}'`, { exitCode: 1 });
  });

void runProgram(program);
