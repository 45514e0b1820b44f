/** The picture in the README and the table in the code are the same machine. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { occupies, PROCESS_TRANSITIONS, type ProcessState } from '../../../core/pool/app-process.js';

test('the arrows of the diagram are the legal moves of a process', () => {
  const text = readFileSync(join(__dirname, '../../../core/pool/README.md'), 'utf8');
  const drawn = [...text.matchAll(/^(\w+) -> (\w+)$/gm)].map((match) => `${match[1]} -> ${match[2]}`);
  const legal = Object.entries(PROCESS_TRANSITIONS).flatMap(([from, moves]) =>
    moves.map((to) => `${from} -> ${to}`),
  );
  assert.deepEqual(drawn.sort(), legal.sort());
});

test('a process that leaves has made room', () => {
  const states = Object.keys(PROCESS_TRANSITIONS) as ProcessState[];
  assert.deepEqual(states.filter(occupies), ['starting', 'ready']);
});
