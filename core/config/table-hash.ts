/**
 * What the Apache module and the core must agree on before they speak: numbers, names, kinds and bounds of all
 * rows, but no texts. The hash is compiled into the module and sent in HELLO.
 */
import { createHash } from 'node:crypto';
import { DIRECTIVES, targetOf } from './directives.js';
import type { Directive, InertRow, SettingRow } from './directive.js';

/** All spellings that an enum row takes, in the order of the table. */
export function spellings(row: SettingRow | InertRow): readonly string[] {
  if (row.kind !== 'enum') return [];
  const synonyms = 'synonyms' in row && row.synonyms !== undefined ? Object.keys(row.synonyms) : [];
  return [...(row.values ?? []), ...synonyms];
}

/** Bounds of an int row; undefined where there is none. */
export function boundsOf(row: SettingRow | InertRow): { min: number | undefined; max: number | undefined } {
  if (row.kind !== 'int') return { min: undefined, max: undefined };
  return { min: row.min, max: 'max' in row ? row.max : undefined };
}

function hashLine(row: Directive): string {
  const target = targetOf(row);
  const { min = '', max = '' } = boundsOf(target);
  const privileged = target.privileged === true ? 'privileged' : '';
  const parts = [row.name, target.scope, target.kind, min, max, spellings(target).join(',')];
  return [...parts, target.allowOverride ?? '', row.status, target.name, privileged].join('|');
}

/** 16 hexadecimal digits. */
export const DIRECTIVE_TABLE_HASH: string = createHash('sha256')
  .update(DIRECTIVES.map((row) => `${hashLine(row)}\n`).join(''))
  .digest('hex')
  .slice(0, 16);
