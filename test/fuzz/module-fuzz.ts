/**
 * Runs test/fault/hostile-core.test.ts for longer, against a module built with AddressSanitizer and UndefinedBehaviorSanitizer:
 * the module of this checkout is not touched. Run: npm run fuzz:module [-- seconds]; as root, SEED=… repeats a run.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { accountNamed } from '../../core/cli/accounts.js';
import { ROOT } from '../../core/cli/installation.js';
import { makeTemporaryDirectory, openForReading, readableRoot } from '../../core/cli/staged-root.js';

const SANITIZE = '-fsanitize=address,undefined';

/** An installation in `directory` that shares all but the module with the one that Apache's user can read. */
function installation(directory: string): string {
  const good = readableRoot(ROOT, join(directory, 'copy'), accountNamed('www-data'));
  const root = join(directory, 'root');
  mkdirSync(root);
  for (const name of readdirSync(good).filter((entry) => entry !== 'apache-module'))
    symlinkSync(join(good, name), join(root, name));
  const module = join(root, 'apache-module');
  mkdirSync(module);
  for (const name of readdirSync(join(ROOT, 'apache-module')).filter((entry) => entry !== 'build'))
    cpSync(join(ROOT, 'apache-module', name), join(module, name));
  execFileSync(
    'make',
    [
      '-s',
      '-C',
      module,
      `ROOT=${root}`,
      `CFLAGS=-O1 -fno-omit-frame-pointer ${SANITIZE}`,
      `LDFLAGS=${SANITIZE}`,
    ],
    { stdio: 'inherit' },
  );
  openForReading(module);
  return root;
}

/** Where gcc has a library of its own. */
function library(name: string): string {
  return execFileSync('gcc', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
}

function main(): number {
  const directory = makeTemporaryDirectory('psg-fuzz-');
  try {
    const root = installation(directory);
    const result = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--test', '--test-reporter=spec', 'test/fault/hostile-core.test.ts'],
      {
        cwd: ROOT,
        stdio: 'inherit',
        env: {
          ...process.env,
          PSG_TEST_ROOT: root,
          PSG_FUZZ_SECONDS: process.argv[2] ?? '30',
          PSG_FUZZ_PRELOAD: `${library('libasan.so')}:${library('libubsan.so')}`,
        },
      },
    );
    return result.status ?? 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

process.exitCode = main();
