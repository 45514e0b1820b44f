import assert from 'node:assert';
import { test } from 'node:test';
import { Fixture } from './gateway-fixture.js';

const OK = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello';

test('a small answer comes back whole, with our fields added', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.answering(OK);
  const answer = await fixture.client().request();
  assert.strictEqual(answer.head?.status, 200);
  assert.strictEqual(answer.head.reason, 'OK');
  assert.strictEqual(answer.body, 'hello');
  assert.strictEqual(answer.end, 'end');
  assert.deepStrictEqual(answer.head.fields, [
    ['Content-Type', 'text/plain'],
    ['Content-Length', '5'],
    ['Status', '200 OK'],
    ['X-Powered-By', 'Passenger TS 0.1.0'],
  ]);
  assert.deepStrictEqual(fixture.source.outcomes, ['ok']);
});
