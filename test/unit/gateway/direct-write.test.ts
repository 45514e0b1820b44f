/** Bytes that go past the streams of node:net, with a system that takes parts, nothing, or fails. */
import assert from 'node:assert';
import { createServer } from 'node:net';
import { constants } from 'node:os';
import { test } from 'node:test';
import { systemClock } from '../../../core/base/clock.js';
import type { SendBytes } from '../../../core/gateway/direct-write.js';
import { roomsInUse } from '../../../core/gateway/rooms.js';
import { sendBytes } from '../../../core/native.js';
import { eventually } from '../../support/eventually.js';
import { Fixture } from './gateway-fixture.js';

const { EAGAIN, EPIPE } = constants.errno;
const OK = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello';
const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n';

/** Takes all, a part or nothing, by turns. */
function inPieces(): SendBytes {
  let turn = 0;
  return (fd, bytes, start, end) => {
    turn += 1;
    const count = turn % 3 === 0 ? 0 : Math.ceil((end - start) / (turn % 3));
    return count === 0 ? -EAGAIN : sendBytes(fd, bytes, start, start + count);
  };
}

/** Text of which each piece tells its place, different for each client. */
function numbered(client: number, length: number): string {
  let text = '';
  for (let at = 0; at < length; at += 10) text += `${client}:${String(at).padStart(7, '0')} `;
  return text.slice(0, length);
}

function chunked(body: string): string {
  let text = '';
  for (let at = 0; at < body.length; at += 7001) {
    const part = body.slice(at, at + 7001);
    text += `${part.length.toString(16)}\r\n${part}\r\n`;
  }
  return `${text}0\r\n\r\n`;
}

test('answers of which the system takes parts arrive whole and in order', async (t) => {
  const fixture = await Fixture.start(t, systemClock, inPieces());
  await fixture.app((socket) =>
    socket.on('data', (head) => {
      const [, client = '', kind = ''] = /\/(\d)\/(\w+)/.exec(head.toString()) ?? [];
      const body = numbered(Number(client), kind === 'small' ? 40 : 400_000);
      const framing = kind === 'chunked' ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;
      socket.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n${kind === 'chunked' ? chunked(body) : body}`);
    }),
  );
  const clients = [1, 2, 3, 4].map((id) => ({ id, client: fixture.client() }));
  for (const kind of ['small', 'length', 'chunked', 'small', 'length']) {
    await Promise.all(
      clients.map(async ({ id, client }) => {
        const answer = await client.request({ path: `/${id}/${kind}` });
        assert.strictEqual(answer.end, 'end');
        assert.ok(answer.body === numbered(id, kind === 'small' ? 40 : 400_000), `${kind} for ${id}`);
      }),
    );
  }
  await eventually(1000, 'all rooms are given back', () => roomsInUse() === 0);
});

test('uploads of which the system takes parts arrive whole and in order', async (t) => {
  const fixture = await Fixture.start(t, systemClock, inPieces());
  const bodies: string[] = [];
  await fixture.app((socket) => {
    let seen = '';
    socket.on('data', (chunk) => {
      seen += chunk.toString('latin1');
      const body = seen.indexOf('\r\n\r\n') + 4;
      const length = Number(/Content-Length: (\d+)/.exec(seen)?.[1] ?? '-1');
      if (length < 0 || seen.length < body + length) return;
      bodies.push(seen.slice(body));
      seen = '';
      socket.write(OK);
    });
  });
  const uploads = [1, 2, 3].flatMap((id) => [true, false].map((bufferUpload) => ({ id, bufferUpload })));
  await Promise.all(
    uploads.map(async ({ id, bufferUpload }) => {
      const client = fixture.client();
      const body = numbered(id, 300_000);
      const settings = { bufferUpload };
      const answer = await client.request({ method: 'POST', body, contentLength: body.length, settings });
      assert.strictEqual(answer.body, 'hello');
    }),
  );
  assert.strictEqual(bodies.length, uploads.length);
  for (const { id } of uploads) assert.ok(bodies.includes(numbered(id, 300_000)), `upload of ${id}`);
  await eventually(1000, 'all rooms are given back', () => roomsInUse() === 0);
});

test('messages of tunnels of which the system takes parts arrive whole and in order', async (t) => {
  const fixture = await Fixture.start(t, systemClock, inPieces());
  await fixture.app((socket) =>
    socket.once('data', () => {
      socket.write(SWITCH);
      socket.on('data', (chunk) => socket.write(chunk));
    }),
  );
  await Promise.all(
    [1, 2, 3].map(async (id) => {
      const client = fixture.client();
      const answer = client.send({ upgrade: true, fields: 'Connection: Upgrade\r\nUpgrade: echo\r\n' });
      await eventually(1000, 'the tunnel is open', () => answer.head?.status === 101);
      const said = numbered(id, 300_000);
      for (let at = 0; at < said.length; at += 1234) client.body(said.slice(at, at + 1234));
      await eventually(5000, 'the echo', () => answer.dataBytes >= said.length);
      assert.ok(answer.body === said, `tunnel ${id}`);
    }),
  );
});

/** Fails as often as it is told. */
class Failing {
  failures = 0;
  readonly send: SendBytes = (fd, bytes, start, end) => {
    if (this.failures === 0) return sendBytes(fd, bytes, start, end);
    this.failures -= 1;
    return -EPIPE;
  };
}

test('a kept connection to the app that fails in a write counts as closed by the app', async (t) => {
  const failing = new Failing();
  const fixture = await Fixture.start(t, systemClock, failing.send);
  await fixture.answering(OK);
  const client = fixture.client();
  assert.strictEqual((await client.request()).body, 'hello');
  failing.failures = 1;
  assert.strictEqual((await client.request()).body, 'hello');
  assert.strictEqual(fixture.gateway.counters.retries, 1);
  failing.failures = 1;
  // The system has taken nothing of it.
  assert.strictEqual((await client.request({ replayable: false })).body, 'hello');
  assert.strictEqual(fixture.gateway.counters.retries, 2);
  assert.strictEqual(fixture.source.open, 0);
});

test('an app that takes no more of a body may still have answered', async (t) => {
  const failing = new Failing();
  const fixture = await Fixture.start(t, systemClock, failing.send);
  let served = 0;
  await fixture.app((socket) =>
    socket.on('data', () => {
      served += 1;
      if (served === 2) failing.failures = 1;
      if (served < 3) socket.write(served === 1 ? OK : OK.slice(0, 20));
      if (served === 2) setTimeout(() => socket.end(OK.slice(20)), 100);
    }),
  );
  const client = fixture.client();
  assert.strictEqual((await client.request()).body, 'hello');
  const answer = client.send({
    method: 'POST',
    bodyFollows: true,
    contentLength: 6,
    settings: { bufferUpload: false },
  });
  await eventually(1000, 'the app has the head', () => served === 2);
  client.body('abcdef');
  client.bodyEnd();
  assert.strictEqual((await client.finished(answer)).body, 'hello');
  assert.strictEqual(served, 2);
});

test('a connection to the shim that fails in a write is closed, and its session given back', async (t) => {
  const failing = new Failing();
  const fixture = await Fixture.start(t, systemClock, failing.send);
  await fixture.app((socket) =>
    socket.on('data', () => {
      failing.failures = 1;
      socket.write(OK);
    }),
  );
  const client = fixture.client();
  const answer = client.send();
  await eventually(1000, 'the connection ends', () => client.closed);
  assert.strictEqual(answer.end, 'closed');
  await eventually(1000, 'the session is given back', () => fixture.source.open === 0);
});

test('sockets of the module and of apps get room for more; for ports TCP finds it', async (t) => {
  const fixture = await Fixture.start(t);
  const app = createServer((socket) => socket.on('data', () => socket.write(OK)));
  await fixture.listening(app, false);
  const client = fixture.client();
  await client.request();
  await client.request();
  assert.strictEqual(new Set(fixture.widened).size, 2);
  assert.strictEqual(fixture.widened.length, 2, 'each once');
  const onPort = createServer((socket) => socket.on('data', () => socket.write(OK)));
  await fixture.listening(onPort, true);
  assert.strictEqual((await client.request()).body, 'hello');
  assert.strictEqual(fixture.widened.length, 2);
});

test('a long head that came in pieces goes out whole before what came with its end', async (t) => {
  const fixture = await Fixture.start(t);
  const long = 'v'.repeat(6000);
  await fixture.app((socket) =>
    socket.on('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nX-Long: ${long}\r\nContent-Len`);
      setImmediate(() => setImmediate(() => socket.write('gth: 5\r\n\r\nhello')));
    }),
  );
  const client = fixture.client();
  for (let n = 0; n < 3; n += 1) {
    const answer = await client.request();
    assert.strictEqual(answer.body, 'hello');
    assert.strictEqual(answer.end, 'end');
    const found = answer.head?.fields.find(([name]) => name === 'X-Long');
    assert.ok(found?.[1] === long);
  }
});
