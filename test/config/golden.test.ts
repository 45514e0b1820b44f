/**
 * Configurations and what httpd says about them. The first lines of a golden file tell: `# accepted`, or
 * `# refused in line N:` and, after it, texts in backquotes that the message has to hold.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { askApache, TOP } from './config-check.js';

const GOLDEN = join(TOP, 'test/config/golden');

function checkRefusal(file: string, line: string, texts: readonly string[]): void {
  const verdict = askApache('-t', file);
  assert.ok(!verdict.ok, 'httpd accepts it');
  for (const text of [`line ${line} of ${file}`, ...texts]) {
    assert.ok(verdict.output.includes(text), `“${text}” is missing in: ${verdict.output}`);
  }
}

for (const name of readdirSync(GOLDEN).filter((entry) => entry.endsWith('.conf'))) {
  test(`${name.replace('.conf', '').replaceAll('-', ' ')}`, () => {
    const file = join(GOLDEN, name);
    const head = readFileSync(file, 'utf8').split('\n')[0] ?? '';
    const refusal = /^# refused in line (\d+):/.exec(head);
    if (refusal !== null) {
      const texts = [...head.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
      assert.ok(texts.length > 0, 'a refusal names what its message has to hold');
      checkRefusal(file, refusal[1] ?? '', texts);
      return;
    }
    assert.match(head, /^# accepted/);
    const verdict = askApache('-t', file);
    assert.ok(verdict.ok, verdict.output);
  });
}
