/**
 * Asks the installed httpd what it thinks of a configuration (`apache2 -t`, `-L`), with our module and nothing of
 * the machine's own configuration. Starts no server.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const TOP = resolve(__dirname, '../..');
const MODULE = join(TOP, 'apache-module/build/mod_passenger.so');
const HTTPD_MODULES = '/usr/lib/apache2/modules';
const BASE = ['mpm_event', 'authz_core', 'alias', 'dir', 'env', 'headers', 'setenvif', 'rewrite', 'mime'];

export interface Verdict {
  readonly ok: boolean;
  readonly output: string;
}

function preamble(dir: string, modules: readonly string[]): string {
  assert.ok(existsSync(MODULE), `${MODULE} is not built: run make -C apache-module first`);
  const loads = [...BASE, ...modules].map(
    (name) => `LoadModule ${name}_module ${HTTPD_MODULES}/mod_${name}.so`,
  );
  return [
    `ServerRoot ${dir}`,
    'ServerName localhost',
    `ErrorLog ${dir}/error.log`,
    `PidFile ${dir}/httpd.pid`,
    'Listen 127.0.0.1:8099',
    ...loads,
    `LoadModule passenger_module ${MODULE}`,
    '',
  ].join('\n');
}

function run(dir: string, args: readonly string[]): Verdict {
  const done = spawnSync('apache2', args, { cwd: dir, encoding: 'utf8', timeout: 30_000 });
  assert.ok(done.error === undefined, `apache2 does not run: ${String(done.error)}`);
  return { ok: done.status === 0, output: done.stdout + done.stderr };
}

/** Runs httpd with a configuration that includes `file`, so that the line numbers of messages are the file's own. */
export function askApache(question: '-t' | '-L', file: string, modules: readonly string[] = []): Verdict {
  const dir = mkdtempSync(join(tmpdir(), 'psg-config-'));
  try {
    const main = join(dir, 'main.conf');
    writeFileSync(main, `${preamble(dir, modules)}Include ${file}\n`);
    return run(dir, [question, '-f', main]);
  } finally {
    rmSync(dir, { recursive: true });
  }
}
