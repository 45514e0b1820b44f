/** The module that is built and the directive table name the same directives, in the same contexts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DIRECTIVES, targetOf } from '../../core/config/directives.js';
import type { Directive } from '../../core/config/directive.js';
import { askApache } from './config-check.js';

/** What `apache2 -L` prints about a context. */
function contextOf(row: Directive): string {
  const { scope, allowOverride } = targetOf(row);
  if (scope === 'server') {
    return 'Allowed in *.conf only outside <Directory>, <Files>, <Location>, or <If>';
  }
  if (scope === 'app') return 'Allowed in *.conf anywhere';
  const override =
    allowOverride === 'options' ? 'AllowOverride includes Options' : "AllowOverride isn't None";
  return `Allowed in *.conf anywhere and in .htaccess when ${override}`;
}

/** Directives of our module by name, with their context, from the output of `apache2 -L`. */
function listed(output: string): Map<string, string> {
  const directives = new Map<string, string>();
  for (const [, name = '', text = ''] of output.matchAll(/^(\w+) \(mod_passenger\.c\)\n((?:\t.*\n)+)/gm)) {
    directives.set(
      name,
      text
        .replace(/\s+/g, ' ')
        .replace(/^.*(?=Allowed in )/, '')
        .trim(),
    );
  }
  return directives;
}

test('apache2 -L lists exactly the table, names and contexts', () => {
  const { output } = askApache('-L', '/dev/null');
  const expected = DIRECTIVES.map((row): [string, string] => [row.name, contextOf(row)]);
  const byName = ([a]: [string, string], [b]: [string, string]): number => (a < b ? -1 : 1);
  assert.deepEqual([...listed(output)].sort(byName), expected.sort(byName));
});
