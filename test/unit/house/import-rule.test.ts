/** The rooms of core/ import along the arrows of DESIGN.md section 2 and nowhere else; files are named as agreed. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { basename, dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import ts from 'typescript';
import { sourceFiles, textOf, TOP } from './sources.js';

/**
 * For each room the rooms, or single files of a room, that it may import besides its own files. `*` is everything:
 * the composition roots put the parts together.
 */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  base: [],
  config: ['base'],
  wire: ['base'],
  native: [],
  supervisor: ['base', 'config', 'native'],
  spawn: ['base', 'config', 'native', 'supervisor/messages', 'supervisor/records'],
  pool: ['base', 'config', 'spawn'],
  routing: ['base', 'config', 'pool'],
  gateway: ['base', 'config', 'wire', 'routing', 'pool/session', 'pool/waiting-list'],
  threads: ['base', 'config', 'routing', 'pool', 'gateway'],
  admin: ['base', 'config', 'pool/snapshot'],
  instance: ['base'],
  standalone: ['base', 'config', 'gateway'],
  cli: ['base', 'config', 'instance', 'admin/memory', 'standalone'],
  loaders: [],
  core: ['*'],
};

/** Packages from outside, and the only rooms that use them. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  'http-parser-js': ['gateway'],
  winston: ['base'],
  'winston-transport': ['base'],
  commander: ['cli'],
};

/** Rooms whose protocol or vocabulary is explained in prose first. */
const EXPLAINED = [
  'core/config',
  'core/wire',
  'core/supervisor',
  'core/spawn',
  'core/pool',
  'core/gateway',
  'core/threads',
  'core/instance',
  'apache-module',
];

const FILES = sourceFiles('core', ['.ts', '.cjs', '.mjs']);

/** `core/pool/session.ts` → `pool`; files that stand directly in core/ are composition roots, but for native.ts. */
function roomOf(path: string): string {
  const parts = path.split('/');
  if (parts.length > 2) return parts[1] ?? '';
  return path === 'core/native.ts' ? 'native' : 'core';
}

/** What an import, an export … from, import() or require() names; undefined for everything else, types included. */
function specifierOf(node: ts.Node): ts.Expression | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier;
  if (!ts.isCallExpression(node)) return undefined;
  const { expression } = node;
  const loads =
    expression.kind === ts.SyntaxKind.ImportKeyword ||
    (ts.isIdentifier(expression) && expression.text === 'require');
  return loads ? node.arguments[0] : undefined;
}

/** Imports of types alone vanish when compiled. */
function isTypeOnly(node: ts.Node): boolean {
  if (ts.isExportDeclaration(node)) return node.isTypeOnly;
  return ts.isImportDeclaration(node) && node.importClause?.isTypeOnly === true;
}

function importsOf(path: string, { types }: { types: boolean }): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const specifier = specifierOf(node);
    if (specifier !== undefined && ts.isStringLiteralLike(specifier) && (types || !isTypeOnly(node))) {
      found.push(specifier.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, textOf(path), ts.ScriptTarget.Latest));
  return found;
}

/** The source file that a relative import means. */
function targetOf(from: string, specifier: string): string {
  const path = normalize(join(dirname(from), specifier));
  return path.endsWith('.js') ? path.replace(/\.js$/, '.ts') : path;
}

const isRelative = (specifier: string): boolean => specifier.startsWith('.');
const isBuiltin = (specifier: string): boolean =>
  specifier.startsWith('node:') || builtinModules.includes(specifier);

function relativeAllowed(from: string, specifier: string): boolean {
  const target = targetOf(from, specifier);
  const room = roomOf(target);
  const allowed = ALLOWED[roomOf(from)] ?? [];
  const file = target.replace(/^core\//, '').replace(/\.[cm]?[jt]s$/, '');
  return room === roomOf(from) || allowed.includes('*') || allowed.includes(room) || allowed.includes(file);
}

for (const path of FILES) {
  test(`${path} imports only what its room may`, () => {
    for (const specifier of importsOf(path, { types: true })) {
      if (isBuiltin(specifier)) continue;
      if (isRelative(specifier)) {
        assert.ok(relativeAllowed(path, specifier), `${path} must not import ${specifier}`);
        continue;
      }
      const rooms = PACKAGES[specifier] ?? [];
      assert.ok(rooms.includes(roomOf(path)), `${path} must not import the package ${specifier}`);
    }
  });
}

/** All files and packages that loading `entry` loads. */
function closure(entry: string, seen: Set<string> = new Set()): Set<string> {
  if (seen.has(entry) || !existsSync(join(TOP, entry))) return seen;
  seen.add(entry);
  for (const specifier of importsOf(entry, { types: false })) {
    if (isRelative(specifier)) closure(targetOf(entry, specifier), seen);
    else seen.add(specifier);
  }
  return seen;
}

test('the supervisor, which is root, loads no package from outside', () => {
  const outside = [...closure('core/supervisor.ts')].filter(
    (name) => !name.startsWith('core/') && !isBuiltin(name),
  );
  assert.deepEqual(outside, []);
});

test('each package that a room uses is declared', () => {
  const { dependencies } = JSON.parse(textOf('package.json')) as { dependencies: Record<string, string> };
  for (const name of Object.keys(PACKAGES)) assert.ok(name in dependencies, name);
});

test('each room stands in the table', () => {
  for (const path of FILES) assert.ok(roomOf(path) in ALLOWED, path);
});

test('no file merely hands on what others export', () => {
  for (const path of FILES.filter((name) => name.endsWith('.ts'))) {
    const { statements } = ts.createSourceFile(path, textOf(path), ts.ScriptTarget.Latest);
    const handsOn = statements.every(
      (statement) => ts.isExportDeclaration(statement) && statement.moduleSpecifier !== undefined,
    );
    assert.ok(!handsOn && basename(path) !== 'index.ts', `${path} is a barrel`);
  }
});

test('files are named for what they hold, in kebab case', () => {
  const files = [...FILES, ...sourceFiles('test', ['.ts'])];
  for (const path of files) {
    assert.match(basename(path), /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.test|\.bench)?\.[cm]?[jt]s$/, path);
    assert.doesNotMatch(path, /(?:^|[/-])(?:utils?|helpers?|common|misc)(?:[/.-]|$)/, path);
  }
});

test('C files are named in snake case', () => {
  for (const path of sourceFiles('apache-module', ['.c', '.h'])) {
    assert.match(basename(path), /^[a-z0-9]+(?:_[a-z0-9]+)*(?:\.gen)?\.[ch]$/, path);
  }
});

test('rooms with a protocol or a vocabulary explain it', () => {
  for (const room of EXPLAINED) {
    const explained = ['README.md', 'PROTOCOL.md'].some((name) => existsSync(join(TOP, room, name)));
    assert.ok(explained, `${room} has no README.md`);
  }
});
