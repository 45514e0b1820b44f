/** Reads views of a running instance from its admin socket. */
import { request } from 'node:http';
import { join } from 'node:path';
import type { Instance } from '../instance/instances.js';
import { CommandError } from './program.js';

const TIMEOUT_MS = 5000;
/** Far above a pool of thousands of processes; a bound all the same. */
const LONGEST_ANSWER = 32 << 20;

/** Exit code when an instance runs, but may not be looked at. */
const NOT_ALLOWED = 2;

function failure(instance: Instance, error: NodeJS.ErrnoException): CommandError {
  if (error.code === 'EACCES' || error.code === 'EPERM' || error.code === 'ECONNRESET') {
    const text = `You may not look at the instance ${instance.name}. Please run this command as root, for example with sudo.`;
    return new CommandError(text, NOT_ALLOWED);
  }
  return new CommandError(`The instance ${instance.name} does not answer: ${error.message}`, NOT_ALLOWED);
}

/** @throws CommandError with a sentence for the reader */
export function readView(instance: Instance, path: string): Promise<string> {
  const socketPath = join(instance.directory, 'core.d/admin.sock');
  return new Promise((resolve, reject) => {
    const attempt = request({ socketPath, path, agent: false, timeout: TIMEOUT_MS }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
        if (body.length > LONGEST_ANSWER) attempt.destroy(new Error('the answer is too long'));
      });
      response.once('error', (error) => reject(failure(instance, error)));
      response.once('end', () => {
        if (response.statusCode === 200) resolve(body);
        else
          reject(
            new CommandError(`The instance ${instance.name} answered ${response.statusCode}`, NOT_ALLOWED),
          );
      });
    });
    attempt.once('timeout', () => attempt.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    attempt.once('error', (error) => reject(failure(instance, error)));
    attempt.end();
  });
}
