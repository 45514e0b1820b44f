/**
 * THE directive table. Types, checks, defaults, the C header of the Apache module, command-line options and the
 * reference page come from here. The index of a row is its number on the wire; both ends compare a hash of the
 * table (table-hash.ts) before the first request.
 */
import type { Directive, InertRow, SettingRow } from './directive.js';
import { ALIASES } from './directives/aliases.js';
import { APP_DIRECTIVES } from './directives/app.js';
import { APP_POOL_DIRECTIVES } from './directives/app-pool.js';
import { INERT_DIRECTIVES } from './directives/inert.js';
import { REQUEST_DIRECTIVES } from './directives/request.js';
import { SERVER_DIRECTIVES } from './directives/server.js';

/** The rows that have a setting, with their literal types: settings.ts infers its types from here. */
export const SETTING_DIRECTIVES = [
  ...SERVER_DIRECTIVES,
  ...APP_DIRECTIVES,
  ...APP_POOL_DIRECTIVES,
  ...REQUEST_DIRECTIVES,
] as const;

export const DIRECTIVES: readonly Directive[] = [...SETTING_DIRECTIVES, ...INERT_DIRECTIVES, ...ALIASES];

const BY_NAME: ReadonlyMap<string, Directive> = new Map(
  DIRECTIVES.map((row): [string, Directive] => [row.name.toLowerCase(), row]),
);

/** Finds a row by its name; httpd does not care about case. */
export function findDirective(name: string): Directive | undefined {
  return BY_NAME.get(name.toLowerCase());
}

/** The row that says what `row` means: the target of an alias, otherwise the row itself. */
export function targetOf(row: Directive): SettingRow | InertRow {
  if (row.status !== 'alias') return row;
  const target = findDirective(row.aliasOf);
  if (target === undefined || target.status === 'alias')
    throw new Error(`${row.name}: no target ${row.aliasOf}`);
  return target;
}
