/** Where this installation is and which version it is. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Top directory of the package: what PassengerRoot names. This file runs as dist/core/cli/installation.js. */
export const ROOT = resolve(__dirname, __dirname.endsWith('/dist/core/cli') ? '../../..' : '../..');

/** The Apache module, relative to ROOT. */
export const MODULE_FILE = 'apache-module/build/mod_passenger.so';

export function version(): string {
  const parsed = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  return parsed.version;
}
