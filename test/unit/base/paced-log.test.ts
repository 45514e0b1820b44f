/** One line for many failures of a kind, alone and with several that feed one log. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Fields } from '../../../core/base/errors.js';
import { PacedLog } from '../../../core/base/paced-log.js';

const PACE_MS = 10_000;

function fixture(feeders: number) {
  const lines: string[] = [];
  let now = 0;
  const clock = { now: () => now };
  const text = ({ who, times }: Fields): string => `${String(who)} ${String(times ?? '')}`.trim();
  const log = new PacedLog({ report: (_code, fields) => void lines.push(text(fields)) }, clock);
  const threads = Array.from({ length: feeders }, () => new PacedLog(log, clock));
  const pass = (ms: number): void => {
    now += ms;
    for (const paced of [...threads, log]) paced.sweep();
  };
  return { log, threads, lines, pass };
}

test('the first of a kind is told at once, those of the next ten seconds in one line with their number', () => {
  const { log, lines, pass } = fixture(0);
  for (const who of ['first', 'second', 'third']) log.report('PSG4008', { who });
  assert.deepEqual(lines, ['first']);
  pass(PACE_MS);
  assert.deepEqual(lines, ['first', 'third 2']);
  pass(PACE_MS);
  log.report('PSG4008', { who: 'later' });
  assert.deepEqual(lines, ['first', 'third 2', 'later']);
});

test('keys and numbers have paces of their own', () => {
  const { log, lines } = fixture(0);
  log.report('PSG4008', { who: 'a' }, 'a');
  log.report('PSG4008', { who: 'b' }, 'b');
  log.report('PSG4009', { who: 'c' }, 'a');
  assert.deepEqual(lines, ['a', 'b', 'c']);
});

test('several threads that feed one log have one pace, and no failure is lost or counted twice', () => {
  const { threads, lines, pass } = fixture(2);
  const fail = (thread: number, who: string): void => threads[thread]?.report('PSG4008', { who }, 'app');
  for (let turn = 0; turn < 5; turn += 1) {
    fail(0, 'one');
    fail(1, 'two');
  }
  assert.deepEqual(lines, ['one']);
  // Each thread tells of the four that it has held back; the first of the other is held back already.
  pass(PACE_MS);
  assert.deepEqual(lines, ['one', 'one 5']);
  pass(PACE_MS);
  assert.deepEqual(lines, ['one', 'one 5', 'two 4']);
});
