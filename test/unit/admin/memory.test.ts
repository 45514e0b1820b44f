/** What the kernel says about a process, whatever its name, and also when it has gone. */
import assert from 'node:assert';
import { test } from 'node:test';
import { parseStat, readProcessFacts } from '../../../core/admin/memory.js';

test('a command name with spaces and parentheses does not shift the fields of stat', () => {
  const text = '12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0';
  assert.deepEqual(parseStat(text), { userTicks: 150, systemTicks: 50 });
});

test('a process that is gone has no facts, a living one has', () => {
  assert.equal(readProcessFacts(2 ** 22 + 1), undefined);
  assert.ok((readProcessFacts(process.pid)?.residentBytes ?? 0) > 1_000_000);
});
