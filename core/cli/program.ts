/** What all commands share: version option, help after errors, exit codes. */
import { Command } from 'commander';
import { VERSION } from '../base/version.js';

/** A failure that ends a command with a sentence for the reader. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  constructor(
    message: string,
    readonly exitCode: number = 1,
  ) {
    super(message);
  }
}

export function createProgram(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .version(`Passenger TS ${VERSION}`, '-v, --version', 'print the version')
    .helpOption('-h, --help', 'print this text')
    .showHelpAfterError();
}

/** Parses the command line and runs the chosen command. */
export async function runProgram(program: Command): Promise<void> {
  try {
    await program.parseAsync();
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = error.exitCode;
  }
}
