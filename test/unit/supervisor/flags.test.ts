/** The flags of the root process are chosen for safety and memory; two places must name the same ones. */
import assert from 'node:assert';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

test('the Apache module starts the supervisor with exactly the flags that its README gives reasons for', () => {
  const readme = readFileSync('core/supervisor/README.md', 'utf8');
  const header = readFileSync('apache-module/supervisor_flags.h', 'utf8');
  const wanted = /SUPERVISOR_NODE_FLAGS="([^"]+)"/.exec(readme)?.[1]?.split(' ');
  const used = [...header.matchAll(/"(--[^"]+)"/g)].map((match) => match[1]);
  assert.ok((wanted?.length ?? 0) > 3);
  assert.deepEqual(used, wanted);
});
