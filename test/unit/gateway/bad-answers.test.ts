/** What apps may send and what becomes of it: the rows B1 to B22 of the battery of bad answers. */
import assert from 'node:assert';
import { test } from 'node:test';
import { Fixture } from './gateway-fixture.js';

const head = (fields: string, status = '200 OK'): string => `HTTP/1.1 ${status}\r\n${fields}\r\n`;
const good = head('Content-Length: 2\r\n') + 'ok';

const REFUSED: readonly (readonly [name: string, bytes: string])[] = [
  ['B3 nothing', ''],
  ['B3 half a header', 'HTTP/1.1 200 OK\r\nContent-'],
  ['B3 garbage', 'garbage\r\n\r\n'],
  ['B3 TLS bytes', '\x15\x03\x01\x00\x02\x02\x28'],
  [
    'B4 Content-Length and Transfer-Encoding',
    head('Content-Length: 2\r\nTransfer-Encoding: chunked\r\n') + 'ok',
  ],
  ['B5 two different lengths', head('Content-Length: 2\r\nContent-Length: 3\r\n') + 'ok'],
  ['B5 two equal lengths', head('Content-Length: 2\r\nContent-Length: 2\r\n') + 'ok'],
  [
    'B6 two Transfer-Encodings',
    head('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n') + '0\r\n\r\n',
  ],
  ['B6 unknown Transfer-Encoding', head('Transfer-Encoding: gzip, chunked\r\n') + '0\r\n\r\n'],
  ['B6 xchunked', head('Transfer-Encoding: xchunked\r\n') + '0\r\n\r\n'],
  ['B7 negative length', head('Content-Length: -1\r\n') + 'ok'],
  ['B7 length with junk', head('Content-Length: 2abc\r\n') + 'ok'],
  ['B7 list of lengths', head('Content-Length: 0, 2\r\n') + 'ok'],
  ['B7 signed length', head('Content-Length: +2\r\n') + 'ok'],
  ['B7 hexadecimal length', head('Content-Length: 0x2\r\n') + 'ok'],
  ['B7 empty length', head('Content-Length:\r\n') + 'ok'],
  ['B8 chunk size -5', head('Transfer-Encoding: chunked\r\n') + '-5\r\nhello\r\n0\r\n\r\n'],
  ['B8 chunk size zz', head('Transfer-Encoding: chunked\r\n') + 'zz\r\n\r\n'],
  ['B8 chunk size with a space', head('Transfer-Encoding: chunked\r\n') + '5 \r\nhello\r\n0\r\n\r\n'],
  ['B8 chunk size 0x5', head('Transfer-Encoding: chunked\r\n') + '0x5\r\nhello\r\n0\r\n\r\n'],
  ['B8 chunk size too large', head('Transfer-Encoding: chunked\r\n') + 'ffffffffffffffff\r\n'],
  ['B8 empty chunk size', head('Transfer-Encoding: chunked\r\n') + '\r\nhello'],
  ['B8 endless extension', head('Transfer-Encoding: chunked\r\n') + `5;${'x'.repeat(20_000)}\r\n`],
  [
    'B8 endless trailers',
    head('Transfer-Encoding: chunked\r\n') + `0\r\n${`A: ${'x'.repeat(100)}\r\n`.repeat(200)}`,
  ],
  ['B9 NUL in a value', head('X-A: a\0b\r\n') + 'ok'],
  ['B10 control byte in a value', head('X-A: a\x01b\r\n') + 'ok'],
  ['B11 bare LF', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
  ['B11 bare CR in a value', head('X-A: a\rSet-Cookie: b\r\n') + 'ok'],
  ['B11 folded line', head('X-A: a\r\n b\r\n') + 'ok'],
  ['B12 status 99', head('', '99 Low')],
  ['B12 status 999999', head('', '999999 High')],
  ['B12 status 000', head('', '000 Zero')],
  ['B12 CR in the reason', head('', '200 O\rK')],
  ['B12 version 2', 'HTTP/2.0 200 OK\r\n\r\n'],
  ['B14 101 unasked', head('Upgrade: x\r\nConnection: upgrade\r\n', '101 Switching Protocols')],
  ['B13 eleven interim answers', 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(11) + good],
  ['B19 head of 200 KB', head(`X-A: ${'a'.repeat(200_000)}\r\n`)],
  ['B19 3000 fields', head('A: b\r\n'.repeat(3000))],
  ['name with a space', head('X A: b\r\n') + 'ok'],
  ['space before the colon', head('X-A : b\r\n') + 'ok'],
  ['line without a colon', head('nonsense\r\n') + 'ok'],
];

test('an answer that is broken before its end of head or in its first bytes becomes a 502 page', async (t) => {
  const fixture = await Fixture.start(t);
  const client = fixture.client();
  for (const [name, bytes] of REFUSED) {
    await fixture.answering(bytes, true);
    const answer = await client.request();
    assert.strictEqual(answer.end, 'end', name);
    assert.strictEqual(answer.head?.status, 502, name);
    assert.strictEqual(answer.field('cache-control'), 'no-store', name);
    assert.match(answer.body, /PSG400[12]/, name);
  }
  assert.strictEqual(fixture.source.open, 0);
  assert.strictEqual(fixture.gateway.upstreams.idleCount, 0);
});

test('a refused answer is refused at once, also when the app keeps the connection open', async (t) => {
  const fixture = await Fixture.start(t);
  const client = fixture.client();
  for (const bytes of [
    'HTTP/1.1 200 OK\nX',
    'garbage',
    head('X-A: \0'),
    head('Transfer-Encoding: chunked\r\n') + 'zz',
  ]) {
    await fixture.answering(bytes);
    assert.strictEqual((await client.request()).head?.status, 502);
  }
});

const CUT: readonly (readonly [name: string, bytes: string])[] = [
  ['B1 chunked body cut', head('Transfer-Encoding: chunked\r\n') + '5\r\nhello\r\n'],
  ['B2 body shorter than its length', head('Content-Length: 100\r\n') + '0123456789'],
];

test('an answer that is cut in its body is aborted, never ended', async (t) => {
  const fixture = await Fixture.start(t);
  const client = fixture.client();
  for (const [name, bytes] of CUT) {
    await fixture.answering(bytes, true);
    const answer = await client.request();
    assert.strictEqual(answer.end, 'abort', name);
    assert.strictEqual(answer.abort?.code, 'PSG4003', name);
  }
  assert.deepStrictEqual(fixture.source.outcomes, ['app-failed', 'app-failed']);
});

test('a chunk size that is broken after the head went out aborts the exchange', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.app((socket) => {
    socket.once('data', () => socket.write(head('Transfer-Encoding: chunked\r\n') + '5\r\nhello\r\n'));
  });
  const client = fixture.client();
  const answer = client.send();
  while (answer.dataBytes < 5) await new Promise((resolve) => setImmediate(resolve));
  fixture.appSockets[0]?.write('-5\r\nhello\r\n');
  await client.finished(answer);
  assert.strictEqual(answer.abort?.code, 'PSG4004');
});

test('an answer in single bytes is the same as in one piece', async (t) => {
  const fixture = await Fixture.start(t);
  const bytes =
    head('Transfer-Encoding: chunked\r\nX-A: b\r\n') + '5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nT: t\r\n\r\n';
  await fixture.app((socket) => {
    socket.on('data', () => {
      let at = 0;
      const next = (): void => {
        if (at < bytes.length) socket.write(bytes.charAt(at++), () => setImmediate(next));
      };
      next();
    });
  });
  const answer = await fixture.client().request();
  assert.strictEqual(answer.body, 'hello world');
  assert.strictEqual(answer.end, 'end');
  assert.deepStrictEqual(answer.names, ['X-A', 'Status', 'X-Powered-By']);
  assert.strictEqual(fixture.gateway.upstreams.idleCount, 1);
});

test('interim answers are relayed before the final one', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.answering(
    `HTTP/1.1 100 Continue\r\n\r\n${head('Link: </a>\r\n', '103 Early Hints').repeat(9)}${good}`,
  );
  const answer = await fixture.client().request();
  assert.deepStrictEqual(
    answer.interim.map(({ status }) => status),
    [100, ...Array<number>(9).fill(103)],
  );
  assert.strictEqual(answer.head?.status, 200);
  assert.strictEqual(answer.body, 'ok');
});

test('status 600 to 999 goes through', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.answering(head('Content-Length: 0\r\n', '999 Odd'));
  assert.strictEqual((await fixture.client().request()).head?.status, 999);
});

test('answers without a body keep the connection in step whatever length they claim', async (t) => {
  const fixture = await Fixture.start(t);
  const client = fixture.client();
  await fixture.answering(head('Content-Length: 9\r\n', '304 Not Modified'));
  const unmodified = await client.request();
  assert.strictEqual(unmodified.headFlags, 1);
  assert.strictEqual(unmodified.field('content-length'), '9');
  assert.strictEqual((await client.request({ method: 'HEAD' })).end, 'end');
  assert.strictEqual(fixture.appSockets.length, 1);
  await fixture.answering(head('Content-Length: 2\r\n', '204 No Content') + 'ok');
  const empty = await client.request();
  assert.strictEqual(empty.body, '');
  assert.strictEqual(empty.field('content-length'), undefined);
  assert.strictEqual(fixture.gateway.upstreams.idleCount, 1);
});

test('bytes behind an answer are dropped with the connection, and never answer the next request', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.answering(`${good}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`);
  const client = fixture.client();
  for (let n = 1; n <= 3; n += 1) {
    assert.strictEqual((await client.request()).body, 'ok');
    assert.strictEqual(fixture.appSockets.length, n);
  }
});

test('fields that belong to one connection, and internal ones, stay behind', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.answering(
    head(
      'Connection: keep-alive, X-Secret\r\nKeep-Alive: timeout=5\r\nX-Secret: 1\r\nProxy-Authenticate: Basic\r\nTE: x\r\n' +
        'Trailer: T\r\nUpgrade: h2c\r\n!~Request-OOB-Work: 1\r\nStatus: 500 No\r\nX-Powered-By: Express\r\nX-Kept: \xe9\r\nContent-Length: 2\r\n',
    ) + 'ok',
  );
  const answer = await fixture.client().request();
  assert.deepStrictEqual(answer.head?.fields, [
    ['X-Powered-By', 'Express'],
    ['X-Kept', '\xe9'],
    ['Content-Length', '2'],
    ['Status', '200 OK'],
  ]);
});

test('bytes beyond ASCII cannot turn into line ends in the parser', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.answering(
    Buffer.from(head('X-A: a\x8d\x8aSet-Cookie: b=c\r\nContent-Length: 2\r\n') + 'ok', 'latin1'),
  );
  const answer = await fixture.client().request();
  assert.strictEqual(answer.field('x-a'), 'a\x8d\x8aSet-Cookie: b=c');
  assert.strictEqual(answer.field('set-cookie'), undefined);
});

test('900 fields keep their order', async (t) => {
  const fixture = await Fixture.start(t);
  const lines = Array.from({ length: 900 }, (_, n) => `Set-Cookie: c${n}=1\r\n`).join('');
  await fixture.answering(head(`${lines}Content-Length: 2\r\n`) + 'ok');
  const answer = await fixture.client().request();
  const cookies = answer.head?.fields.filter(([name]) => name === 'Set-Cookie').map(([, value]) => value);
  assert.deepStrictEqual(
    cookies,
    Array.from({ length: 900 }, (_, n) => `c${n}=1`),
  );
});

test('a body that lasts until the connection ends is relayed, and without a length', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.answering('HTTP/1.0 200 OK\r\n\r\nuntil the end', true);
  const answer = await fixture.client().request();
  assert.strictEqual(answer.body, 'until the end');
  assert.strictEqual(answer.end, 'end');
  assert.strictEqual(answer.field('content-length'), undefined);
  assert.strictEqual(fixture.gateway.upstreams.idleCount, 0);
});
