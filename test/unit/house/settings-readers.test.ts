/** A directive that claims to be supported is read by somebody: the core, the supervisor or the Apache module. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SETTING_DIRECTIVES } from '../../../core/config/directives.js';
import { directivesHeader } from '../../../core/config/emit-header.js';
import { sourceFiles, textOf } from './sources.js';

const TYPESCRIPT = sourceFiles('core', ['.ts']).filter((path) => !path.startsWith('core/config/'));
/** config.c takes the values in; who acts on them is in the other files. */
const C = sourceFiles('apache-module', ['.c']).filter((path) => !path.endsWith('/config.c'));
/** Keys whose whole meaning is in core/config: the name of the group (app-config.ts). */
const READ_BY_CONFIG = new Set(['appGroupName']);

const typescript = TYPESCRIPT.map(textOf).join('\n');
const c = C.map(textOf).join('\n');

/** C name of each row by its number. */
const C_NAMES = new Map(
  [...directivesHeader().matchAll(/^#define (PSG_ID_\w+) (\d+)$/gm)].map(([, name = '', id]) => [
    Number(id),
    name,
  ]),
);

/** `settings.minInstances`, or a destructured `{ minInstances }`. */
function isRead(key: string, id: number): boolean {
  const property = new RegExp(`\\.${key}\\b|[{,]\\s*${key}\\s*[,}:][^;()]*\\} = `);
  const cName = C_NAMES.get(id) ?? '';
  return property.test(typescript) || new RegExp(`\\b${cName}\\b`).test(c);
}

SETTING_DIRECTIVES.forEach((row, id) => {
  if (row.status !== 'supported' || READ_BY_CONFIG.has(row.key)) return;
  test(`${row.name} is read by somebody`, () => {
    assert.ok(isRead(row.key, id), `nobody reads ${row.key}: is it supported?`);
  });
});
