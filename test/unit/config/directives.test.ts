/** The directive table itself: rules that every row keeps, and the files that come from it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { DIRECTIVES, findDirective, SETTING_DIRECTIVES, targetOf } from '../../../core/config/directives.js';
import type { SettingRow } from '../../../core/config/directive.js';
import { generatedFiles } from '../../../core/config/emit.js';
import { DIRECTIVE_TABLE_HASH } from '../../../core/config/table-hash.js';
import { isSet, parseValue } from '../../../core/config/value.js';

const TOP = resolve(__dirname, '../../..');
const ROWS: readonly SettingRow[] = SETTING_DIRECTIVES;

for (const [path, text] of generatedFiles()) {
  test(`${path} is what npm run gen writes`, () => {
    assert.ok(
      readFileSync(join(TOP, path), 'utf8') === text,
      `${path} is stale: run npm run gen and commit it`,
    );
  });
}

test('names and keys are unique', () => {
  const names = DIRECTIVES.map((row) => row.name.toLowerCase());
  assert.equal(new Set(names).size, names.length);
  const keys = DIRECTIVES.flatMap((row) => (row.status === 'alias' ? [] : [row.key]));
  assert.equal(new Set(keys).size, keys.length);
});

test('a row that has no effect, or is refused, says why', () => {
  for (const row of DIRECTIVES) {
    if (row.status === 'ignored' || row.status === 'refused') assert.notEqual(row.reason, '', row.name);
  }
});

test('each row with a setting has details', () => {
  for (const row of ROWS) assert.match(row.details, /\.$/, row.name);
});

test('each row has a summary in one line without a full stop, and an example that begins with its name', () => {
  for (const row of DIRECTIVES) {
    assert.match(row.summary, /^\S[^\n]*[^.\n]$/, row.name);
    assert.ok(row.example.startsWith(`${row.name} `), row.name);
  }
});

test('each example and each default is a legal value', () => {
  for (const row of ROWS) {
    const given = row.example.slice(row.name.length + 1).replace(/^"(.*)"$/, '$1');
    assert.doesNotThrow(() => parseValue(row, given), row.name);
    if (isSet(row) || row.default === undefined || row.default === '') continue;
    const text = row.kind === 'flag' ? (row.default ? 'on' : 'off') : String(row.default);
    assert.equal(parseValue(row, text), row.default, row.name);
  }
});

test('a default that depends on something else is told in words', () => {
  for (const row of ROWS) if (row.default === undefined) assert.notEqual(row.defaultText ?? '', '', row.name);
});

test('only directives of requests say what AllowOverride they need', () => {
  for (const row of ROWS) assert.equal(row.allowOverride !== undefined, row.scope === 'request', row.name);
});

test('older names lead to a row that is none itself', () => {
  for (const row of DIRECTIVES) if (row.status === 'alias') assert.equal(targetOf(row).name, row.aliasOf);
  assert.equal(findDirective('railsenv')?.name, 'RailsEnv');
});

test('values that only Apache itself may give to the supervisor are marked', () => {
  const privileged = ROWS.filter((row) => row.privileged === true).map((row) => row.name);
  assert.deepEqual(privileged.sort(), [
    'PassengerAppLogFile',
    'PassengerAppStartCommand',
    'PassengerCustomErrorPage',
    'PassengerGroup',
    'PassengerMeteorAppSettings',
    'PassengerNoNewPrivileges',
    'PassengerNodejs',
    'PassengerUser',
  ]);
});

test('the hash of the table is in the C header', () => {
  const header = readFileSync(join(TOP, 'apache-module/directives.gen.h'), 'utf8');
  assert.match(DIRECTIVE_TABLE_HASH, /^[0-9a-f]{16}$/);
  assert.ok(header.includes(`PSG_TABLE_HASH "${DIRECTIVE_TABLE_HASH}"`));
});
