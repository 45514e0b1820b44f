/**
 * The installation as other users can read it. The core and the apps run as users who may not enter the directory of a
 * checkout (a clone in /root, or below a home directory of mode 0700). For a demo or a test this copies what runs to a
 * place that they can read; a real installation belongs in such a place from the beginning.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { MODULE_FILE } from './installation.js';
import type { Account } from './private-apache.js';

/** Whether everybody may pass through each directory above `path`. */
function everybodyMayReach(path: string): boolean {
  for (let at = dirname(path); ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
    if (at === '/') return true;
  }
}

/**
 * A new directory below the temporary directory, for everybody to search. Falls back to /tmp where $TMPDIR is closed or so
 * long that the path of a socket in it would not fit into a socket address.
 */
export function makeTemporaryDirectory(prefix: string): string {
  const preferred = tmpdir();
  const base =
    preferred.length <= 30 && existsSync(preferred) && everybodyMayReach(join(preferred, 'x'))
      ? preferred
      : '/tmp';
  const directory = mkdtempSync(join(base, prefix));
  chmodSync(directory, 0o755);
  return directory;
}

/** Whether `account` can read all of `files`. */
export function canRead(account: Account, files: readonly string[]): boolean {
  const tests = files.flatMap((file, index) => [...(index === 0 ? [] : ['-a']), '-r', file]);
  const { uid, gid } = account;
  return spawnSync('/usr/bin/test', tests, { uid, gid, cwd: '/', stdio: 'ignore' }).status === 0;
}

/** Directories of node_modules that production needs, by the lockfile. */
function productionPackages(root: string): string[] {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; devOptional?: boolean }>;
  };
  return Object.entries(lock.packages)
    .filter(([path, entry]) => path !== '' && entry.dev !== true && entry.devOptional !== true)
    .map(([path]) => path);
}

const RUNTIME_FILES = [
  'package.json',
  'dist/core',
  'core/loaders',
  'native/build/Release/passenger_native.node',
  MODULE_FILE,
];

/** `root` itself if `account` can read it, otherwise a copy of what runs in `target`, a directory that it can read. */
export function readableRoot(root: string, target: string, account: Account | undefined): string {
  if (account === undefined || process.getuid?.() !== 0) return root;
  const probes = [
    'dist/core/core.js',
    'core/loaders/preload.cjs',
    'node_modules/http-parser-js/package.json',
  ];
  const there = probes.map((probe) => join(root, probe)).filter((probe) => existsSync(probe));
  if (canRead(account, there)) return root;
  const previous = process.umask(0o022);
  for (const path of [...RUNTIME_FILES, ...productionPackages(root)]) {
    if (!existsSync(join(root, path))) continue;
    mkdirSync(dirname(join(target, path)), { recursive: true });
    cpSync(join(root, path), join(target, path), { recursive: true });
  }
  process.umask(previous);
  openForReading(target);
  return target;
}

/** A copy keeps the modes of a checkout, which may have been made under umask 077. */
export function openForReading(directory: string): void {
  spawnSync('chmod', ['-R', 'a+rX', directory], { stdio: 'ignore' });
}
