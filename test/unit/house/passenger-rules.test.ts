/** The tests that test/PASSENGER-RULES.md names for Passenger's rules exist under these titles, and no row is without. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import ts from 'typescript';
import { TOP, textOf } from './sources.js';

const TABLE = 'test/PASSENGER-RULES.md';
/** What a test is declared with; the first argument is its title. */
const DECLARERS = new Set(['test', 'rule', 'integrationTest']);
/** Where the files that a column names are. */
const PLACES = { unit: 'test/unit', apache: 'test' } as const;

interface Row {
  readonly line: number;
  readonly rule: string;
  readonly cells: Readonly<Record<keyof typeof PLACES, string>>;
}

/** Titles of one file: as they stand there, and those that a loop completes from the literals of the file. */
interface Titles {
  readonly exact: ReadonlySet<string>;
  readonly patterns: readonly RegExp[];
  readonly literals: ReadonlySet<string>;
}

function rows(): Row[] {
  const found: Row[] = [];
  textOf(TABLE)
    .split('\n')
    .forEach((text, index) => {
      const [, rule = '', , unit = '', apache = '', end] = text.split('|').map((cell) => cell.trim());
      if (end === undefined || rule === 'Rule' || /^-+$/.test(rule)) return;
      found.push({ line: index + 1, rule, cells: { unit, apache } });
    });
  return found;
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

function patternOf({ head, templateSpans }: ts.TemplateExpression): RegExp {
  const rest = templateSpans.map(({ literal }) => `(.+?)${escaped(literal.text)}`).join('');
  return new RegExp(`^${escaped(head.text)}${rest}$`);
}

function titlesOf(path: string): Titles {
  const exact = new Set<string>();
  const patterns: RegExp[] = [];
  const literals = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node) || ts.isNumericLiteral(node)) literals.add(node.text);
    // As it stands there, `${…}` and all.
    if (ts.isTemplateExpression(node)) literals.add(node.getText().slice(1, -1));
    if (ts.isCallExpression(node) && DECLARERS.has(node.expression.getText())) {
      const [title] = node.arguments;
      if (title !== undefined && ts.isStringLiteralLike(title)) exact.add(title.text);
      if (title !== undefined && ts.isTemplateExpression(title)) patterns.push(patternOf(title));
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, textOf(path), ts.ScriptTarget.Latest, true));
  return { exact, patterns, literals };
}

function has({ exact, patterns, literals }: Titles, title: string): boolean {
  if (exact.has(title)) return true;
  return patterns.some((pattern) => {
    const [, ...filled] = pattern.exec(title) ?? [];
    return filled.length > 0 && filled.every((text) => literals.has(text));
  });
}

const known = new Map<string, Titles>();
function exists(path: string, title: string): boolean {
  if (!existsSync(join(TOP, path))) return false;
  const titles = known.get(path) ?? titlesOf(path);
  known.set(path, titles);
  return has(titles, title);
}

/** `` `pool/exits` its title<br>`pool/restart` another `` → what of it is no test, or what is wrong with the cell. */
function wrongIn(cell: string, place: string): string[] {
  // No test: a dash, and why.
  if (cell.startsWith('–')) return /^– \S.{5}/.test(cell) ? [] : [`no reason: "${cell}"`];
  return cell.split('<br>').filter((reference) => {
    const [, name = '', title = ''] = /^`([\w/-]+)` (.+)$/.exec(reference.trim()) ?? [];
    return name === '' || !exists(`${place}/${name}.test.ts`, title);
  });
}

test("each of Passenger's rules names tests that exist, or says why there is none", () => {
  const wrong = rows().flatMap(({ line, rule, cells }) =>
    (['unit', 'apache'] as const).flatMap((column) =>
      wrongIn(cells[column], PLACES[column]).map((what) => `${TABLE}:${line} (${rule}): ${what}`),
    ),
  );
  assert.deepEqual(wrong, []);
});

test("each part of Passenger's pool has its table", () => {
  const parts = [...textOf(TABLE).matchAll(/^## (7\.\d) /gm)].map(([, part]) => part);
  assert.deepEqual(parts, ['7.1', '7.2', '7.3', '7.4', '7.5', '7.6', '7.7', '7.8']);
  assert.ok(rows().length >= 50, `${rows().length} rows`);
});

test('a title that a loop completes counts only with what stands in the file', () => {
  const path = 'test/unit/pool/scaling.test.ts';
  assert.ok(exists(path, 'growth: up to the minimum'));
  assert.ok(!exists(path, 'growth: up to the sky'));
  assert.ok(!exists(path, 'shrinking: up to the minimum'));
  assert.ok(!exists('test/unit/pool/nothing.test.ts', 'growth: up to the minimum'));
});
