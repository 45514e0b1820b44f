/** What runs as root: our own few files and a handful of Node's modules, nothing from npm and no network. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

const CORE = path.join(__dirname, '..', '..', '..', 'core');
const BUILT_IN = new Set(['node:assert', 'node:fs', 'node:os', 'node:path']);

/** All files that `file` imports, directly or not; checks every import on the way. */
function closure(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const text = fs.readFileSync(file, 'utf8');
  assert.doesNotMatch(text, /\brequire\(|\bimport\(/, `${file} loads code later`);
  for (const [, from = ''] of text.matchAll(/^(?:import|export) (?:[^;]*?from )?'([^']+)';/gm)) {
    if (from.startsWith('.')) closure(path.join(path.dirname(file), from.replace(/\.js$/, '.ts')), seen);
    else assert.ok(BUILT_IN.has(from), `${file} imports ${from}`);
  }
  return seen;
}

test('the supervisor consists of base, its own room and the face of the addon', () => {
  const files = [...closure(path.join(CORE, 'supervisor.ts'))].map((file) => path.relative(CORE, file));
  assert.ok(files.length > 10);
  for (const file of files) assert.match(file, /^(base\/|supervisor\/|supervisor\.ts$|native\.ts$)/);
});
