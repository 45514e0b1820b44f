/** Fields of a log line: one event stays one line and cannot pass for another, nor steer a terminal. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatFields } from '../../../core/base/log.js';

test('plain values stand as they are, all others in quotes', () => {
  assert.equal(
    formatFields({ pid: 7, file: '/a/b.js', gone: undefined, why: 'no room' }),
    ' pid=7 file=/a/b.js why="no room"',
  );
});

test('line ends, quotes and control characters of any kind are written out', () => {
  const why = 'a\nb" pid=1\x1b[2J\x7f\u009b31m\u2028c';
  assert.equal(formatFields({ why }), ' why="a\\nb\\" pid=1\\u001b[2J\\u007f\\u009b31m\\u2028c"');
});
