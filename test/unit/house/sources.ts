/** The source files of this repository, for tests that check rules of the house. Built and installed trees are left out. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

export const TOP = resolve(__dirname, '../../..');
const SKIPPED = new Set(['node_modules', 'dist', 'build', 'apps']);

function walk(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : walk(path);
    return entry.isFile() ? [path] : [];
  });
}

/** Paths below the top directory, sorted, of the files in `dir` that end in one of `endings`. */
export function sourceFiles(dir: string, endings: readonly string[]): string[] {
  return walk(join(TOP, dir))
    .filter((path) => endings.some((ending) => path.endsWith(ending)))
    .map((path) => relative(TOP, path))
    .sort();
}

export function textOf(path: string): string {
  return readFileSync(join(TOP, path), 'utf8');
}
