import assert from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { GATEWAY_ERRORS } from '../../../core/base/error-codes/gateway.js';
import { WIRE_ERRORS } from '../../../core/base/error-codes/wire.js';

test('each number of wire and gateway is used in exactly one place', () => {
  const room = join(__dirname, '../../../core/gateway');
  const text = readdirSync(room)
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(room, name), 'utf8'))
    .join('');
  for (const code of Object.keys({ ...GATEWAY_ERRORS, ...WIRE_ERRORS })) {
    assert.strictEqual(text.split(`'${code}'`).length - 1, 1, code);
  }
});
