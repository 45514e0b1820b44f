/** Every file of conf-examples that httpd can read is one that httpd accepts with our module. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DIRECTIVES } from '../../core/config/directives.js';
import { askApache, TOP } from './config-check.js';

const EXAMPLES = join(TOP, 'conf-examples');

for (const file of readdirSync(EXAMPLES).filter((name) => name.endsWith('.conf'))) {
  test(`${file} passes apache2 -t`, () => {
    const verdict = askApache('-t', join(EXAMPLES, file), ['socache_shmcb', 'ssl']);
    assert.ok(verdict.ok, verdict.output);
  });
}

test('all-directives.conf holds each directive that is accepted exactly once', () => {
  const lines = readFileSync(join(EXAMPLES, 'all-directives.conf'), 'utf8').split('\n');
  for (const row of DIRECTIVES) {
    const uses = lines.filter((line) => line.trim().startsWith(`${row.name} `));
    assert.equal(uses.length, row.status === 'refused' ? 0 : 1, row.name);
  }
});
