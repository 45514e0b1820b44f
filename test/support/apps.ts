/** Fixture apps: copies of test/apps/<name>, or of a demo app, with an owner of their own, gone at the end of the test. */
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { ROOT } from '../../core/cli/installation.js';
import { makeTemporaryDirectory } from '../../core/cli/staged-root.js';
import { currentTest } from './current-test.js';
import { IS_ROOT, userNamed } from './users.js';

/** Fixture apps and their node_modules; the runner names a copy where app users cannot read the checkout. */
const APPS = process.env['PSG_TEST_APPS'] ?? resolve(__dirname, '../apps');

export interface CopyOptions {
  /** As root: who owns the copy; default psgapp1. Without root everything is ours. */
  readonly owner?: string;
  /** Mode of the app's top directory; default 0755. */
  readonly mode?: number;
}

function chownAll(path: string, uid: number, gid: number): void {
  lchownSync(path, uid, gid);
  if (!lstatSync(path).isDirectory()) return;
  for (const name of readdirSync(path)) chownAll(join(path, name), uid, gid);
}

/**
 * Copies test/apps/<name>, or the demo app of this name where there is none, and returns the path of the copy. `tmp/` and `public/` exist in it, and packages from
 * the registry are found through a node_modules next to the copy.
 */
export function copyApp(name: string, options: CopyOptions = {}): Promise<string> {
  const parent = makeTemporaryDirectory('psg-app-');
  currentTest().directories.push(parent);
  const app = join(parent, name);
  const ours = join(APPS, name);
  cpSync(existsSync(ours) ? ours : join(ROOT, 'conf-examples/demo', name), app, { recursive: true });
  for (const below of ['tmp', 'public']) mkdirSync(join(app, below), { recursive: true });
  if (existsSync(join(APPS, 'node_modules')))
    symlinkSync(join(APPS, 'node_modules'), join(parent, 'node_modules'));
  chmodSync(app, options.mode ?? 0o755);
  if (IS_ROOT) {
    const owner = userNamed(options.owner ?? 'psgapp1');
    chownAll(app, owner.uid, owner.gid);
  }
  return Promise.resolve(app);
}

/** Hands a file that a test wrote into an app to the app's owner. */
export function giveTo(path: string, owner: string): void {
  if (!IS_ROOT) return;
  const { uid, gid } = userNamed(owner);
  chownSync(path, uid, gid);
}
