/** Numbered messages: each number that the code uses stands in the table, and in one place of the code. */
import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { test } from 'node:test';
import { ERROR_CODES, type ErrorCode } from '../../../core/base/error-codes.js';
import { errorRow } from '../../../core/base/errors.js';
import { sourceFiles, textOf } from './sources.js';

const TABLES = sourceFiles('core/base', ['.ts']).filter((path) => path.includes('/error-codes'));
const SOURCES = [
  ...sourceFiles('core', ['.ts', '.cjs', '.mjs']),
  ...sourceFiles('apache-module', ['.c', '.h']),
  ...sourceFiles('native', ['.cc', '.cpp', '.h']),
].filter((path) => !TABLES.includes(path));

/** The first digit of the numbers of each table file. */
const RANGES: Readonly<Record<string, string>> = {
  'base.ts': '0',
  'shim.ts': '1',
  'config.ts': '2',
  'wire.ts': '3',
  'gateway.ts': '4',
  'pool.ts': '5',
  'spawn.ts': '6',
  'supervisor.ts': '7',
  'instance.ts': '8',
};

/**
 * Places that raise a number: it stands at the beginning of a literal. Comments, and comparisons with a number that
 * was raised elsewhere, do not count.
 */
function usesOf(path: string): string[] {
  const text = textOf(path)
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '')
    .replace(/(?:[!=]==? |case )'PSG\d{4}'/g, '');
  return [...text.matchAll(/["'`](PSG\d{4})/g)].map((match) => match[1] ?? '');
}

const USES = SOURCES.flatMap((path) => usesOf(path).map((code) => ({ code, path })));

test('each number that the code uses stands in the table', () => {
  for (const { code, path } of USES) assert.ok(code in ERROR_CODES, `${code} of ${path} is in no table`);
});

for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
  const retired = errorRow(code).retired === true;
  test(`${code} is used in ${retired ? 'no' : 'one'} place`, () => {
    const places = USES.filter((use) => use.code === code).map((use) => use.path);
    assert.equal(places.length, retired ? 0 : 1, `used in: [${places.join(', ')}]`);
  });
}

test("numbers lie in the range of their room's table", () => {
  for (const path of TABLES.filter((name) => name.includes('/error-codes/'))) {
    const digit = RANGES[basename(path)];
    assert.notEqual(digit, undefined, `${path} has no range`);
    for (const [, found] of textOf(path).matchAll(/^ {2}PSG(\d)\d{3}:/gm)) assert.equal(found, digit, path);
  }
});

test('what a client reads is a sentence, and only where a request ends', () => {
  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    const { status, safe } = errorRow(code);
    if (safe === undefined) continue;
    assert.match(safe, /^[A-Z].*\.$/, code);
    assert.notEqual(status, undefined, `${code} has a sentence but no status`);
  }
});

test('a message is one sentence without an end, so that fields can follow', () => {
  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    assert.match(errorRow(code).message, /^[^\n]+[^.\n]$/, code);
  }
});
