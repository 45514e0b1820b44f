/** How a line of the log reads. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatFields } from '../../../core/base/log.js';

test('a field that needs it is quoted, one without a value is left out', () => {
  assert.equal(formatFields({ path: '/srv/a b', pid: 7, user: undefined }), ' path="/srv/a b" pid=7');
});

test('an errno is written as the word that people look up, and none where nothing failed', () => {
  assert.equal(formatFields({ step: 'exec', errno: 2 }), ' step=exec errno=ENOENT');
  assert.equal(formatFields({ step: 'prepare', errno: 0 }), ' step=prepare');
});
