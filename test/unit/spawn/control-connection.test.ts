/** The control connection against loaders that behave, and against processes that do not. */
import assert from 'node:assert';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import {
  ControlConnection,
  parseAppMessage,
  type AppMessage,
} from '../../../core/spawn/control-connection.js';
import { FakeClock } from '../../support/fake-clock.js';

interface Scene {
  readonly stream: PassThrough;
  readonly messages: AppMessage[];
  readonly violations: string[];
  readonly clock: FakeClock;
  readonly connection: ControlConnection;
  readonly say: (bytes: string | Buffer) => Promise<void>;
}

function scene(): Scene {
  const stream = new PassThrough();
  const messages: AppMessage[] = [];
  const violations: string[] = [];
  const clock = new FakeClock();
  const connection = new ControlConnection(stream, clock, {
    onMessage: (message) => messages.push(message),
    onViolation: (reason) => violations.push(reason),
  });
  const say = async (bytes: string | Buffer): Promise<void> => {
    stream.write(bytes);
    await new Promise(setImmediate);
  };
  return { stream, messages, violations, clock, connection, say };
}

test('messages come whole, however the bytes arrive', async () => {
  const { say, messages } = scene();
  for (const character of '{"type":"hello","pid":1,"node":"v20"}\n{"type":"ready","concurrency":0}\n')
    await say(character);
  assert.deepStrictEqual(messages, [
    { type: 'hello', node: 'v20' },
    { type: 'ready', concurrency: 0 },
  ]);
});

test('what is no message is ignored', async () => {
  const { say, messages, violations } = scene();
  await say(
    '\n{]\nnull\n7\n[]\n"x"\n{"type":7}\n{"type":"step","step":"rm"}\n\xff\xfe\n{"type":"state","state":"odd"}\n',
  );
  assert.deepStrictEqual([messages, violations], [[], []]);
});

const FIELDS: readonly (readonly [string, AppMessage])[] = [
  ['{"type":"ready","concurrency":-1}', { type: 'ready', concurrency: 0 }],
  ['{"type":"ready","concurrency":"x"}', { type: 'ready', concurrency: 0 }],
  ['{"type":"ready","concurrency":2.9}', { type: 'ready', concurrency: 2 }],
  ['{"type":"report","elu":2,"heapUsed":"x","rss":5}', { type: 'report', rss: 5 }],
  ['{"type":"report","elu":0.5,"heapUsed":1e400}', { type: 'report', elu: 0.5 }],
  ['{"type":"failed","message":{"a":1}}', { type: 'failed', message: '', stack: '' }],
  ['{"type":"detected","startupFile":"x.js","more":1}', { type: 'detected', startupFile: 'x.js' }],
];

for (const [line, expected] of FIELDS) {
  test(`${line} is read as ${JSON.stringify(expected)}`, () => {
    assert.deepStrictEqual(parseAppMessage(line), expected);
  });
}

test('texts are cut', () => {
  const message = parseAppMessage(JSON.stringify({ type: 'note', message: 'x'.repeat(60_000) }));
  assert.ok(message?.type === 'note' && message.message.length === 16 * 1024);
});

test('a line that never ends closes the connection', async () => {
  const { say, violations, stream, clock } = scene();
  for (let n = 0; n < 20 && violations.length === 0; n += 1) {
    await say(Buffer.alloc(10_000, 120));
    clock.advance(1000);
  }
  assert.deepStrictEqual(violations, ['line too long']);
  assert.ok(stream.destroyed);
});

test('a flood of well-formed messages closes the connection', async () => {
  const { say, violations, messages } = scene();
  const flood = '{"type":"report","elu":0}\n'.repeat(1000);
  for (let n = 0; n < 30; n += 1) await say(flood);
  assert.deepStrictEqual(violations, ['too many bytes in a second']);
  assert.ok(messages.length <= 12_000);
});

test('a message to a process whose end is gone says so', async () => {
  const { connection, stream } = scene();
  assert.strictEqual(connection.send({ type: 'shutdown' }), true);
  stream.destroy();
  await new Promise(setImmediate);
  assert.strictEqual(connection.send({ type: 'shutdown' }), false);
});
