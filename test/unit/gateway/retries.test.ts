/** When a request may be sent once more, and when it must not: nothing of an answer seen, nothing done twice. */
import assert from 'node:assert';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { judgeConnect } from '../../../core/gateway/connect-verdict.js';
import { eventually } from '../../support/eventually.js';
import { FakeClock } from '../../support/fake-clock.js';
import { Fixture } from './gateway-fixture.js';

const OK = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello';

test('a kept connection that the app closes is replaced by a new one for a GET, unseen by the client', async (t) => {
  const fixture = await Fixture.start(t);
  // Each connection answers once and dies with the second request.
  await fixture.app((socket) => {
    socket.once('data', () => {
      socket.write(OK);
      socket.once('data', () => socket.destroy());
    });
  });
  const client = fixture.client();
  assert.strictEqual((await client.request()).body, 'hello');
  assert.strictEqual((await client.request()).body, 'hello');
  assert.strictEqual(fixture.gateway.counters.retries, 1);
  assert.strictEqual((await client.request({ method: 'POST', body: 'x' })).head?.status, 502);
});

test('no request is repeated once a byte of an answer was seen, or on a new connection', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.app((socket, nth) => {
    socket.once('data', () => {
      if (nth > 1) socket.destroy();
      else socket.write(OK);
      socket.once('data', () => socket.end('H'));
    });
  });
  const client = fixture.client();
  await client.request();
  assert.strictEqual((await client.request()).head?.status, 502);
  assert.strictEqual((await client.request()).head?.status, 502);
  assert.strictEqual(fixture.appSockets.length, 2);
});

test('a GET whose process ends before it has read it goes to another one, a POST does not', async (t) => {
  const fixture = await Fixture.start(t);
  let resets = 1;
  await fixture.app((socket) => {
    if (resets > 0) {
      resets -= 1;
      // The request is in the socket when it closes: the other end gets a reset.
      setTimeout(() => socket.destroy(), 50);
    } else {
      socket.once('data', () => socket.write(OK));
      socket.resume();
    }
  }, true);
  const client = fixture.client();
  assert.strictEqual((await client.request()).body, 'hello');
  assert.strictEqual(fixture.source.open, 0);
  fixture.gateway.upstreams.close();
  resets = 1;
  assert.strictEqual((await client.request({ method: 'POST', body: 'once only' })).head?.status, 502);
});

for (const kind of ['a Unix socket', 'a port'] as const) {
  test(`a GET that its process on ${kind} dies of gets 502 and reaches no other process`, async (t) => {
    const fixture = await Fixture.start(t);
    let reached = 0;
    await fixture.app((socket) => {
      reached += 1;
      socket.write(OK);
    });
    const other = fixture.source.target;
    const deadly = createServer((socket) => {
      socket.once('data', () => {
        socket.write(OK);
        // It has read the next one, and is gone with all that it had.
        socket.once('data', () => {
          deadly.close();
          fixture.source.target = other;
          socket.destroy();
        });
      });
    });
    await fixture.listening(deadly, kind === 'a port');
    const client = fixture.client();
    assert.strictEqual((await client.request()).body, 'hello');
    assert.strictEqual((await client.request()).head?.status, 502);
    assert.strictEqual(reached, 0);
    assert.strictEqual(fixture.source.open, 0);
  });

  test(`a process on ${kind} that ends and closes its idle connections costs no request`, async (t) => {
    const fixture = await Fixture.start(t);
    await fixture.app((socket) => {
      socket.on('data', () => socket.write(OK));
    });
    const other = fixture.source.target;
    for (const question of [{}, { method: 'POST', body: 'once' }] as const) {
      // What is written to a port that was closed counts as sent.
      if (kind === 'a port' && 'body' in question) break;
      const sockets: Socket[] = [];
      const leaving = createServer((socket) => {
        sockets.push(socket);
        socket.on('data', () => socket.write(OK));
      });
      await fixture.listening(leaving, kind === 'a port');
      const client = fixture.client();
      assert.strictEqual((await client.request()).body, 'hello');
      // The gateway finds the request before it finds the end of the connection.
      const answer = client.request(question);
      leaving.close();
      for (const socket of sockets) socket.destroy();
      fixture.source.nextTarget = other;
      assert.strictEqual((await answer).body, 'hello');
    }
  });
}

test('a process that takes no connection is reported, and after a few attempts the answer is 503', async (t) => {
  const clock = new FakeClock();
  const fixture = await Fixture.start(t, clock);
  fixture.source.target = { path: '/nonexistent/app.sock' };
  const client = fixture.client();
  const answer = client.send();
  await eventually(3000, 'the exchange gives up', () => {
    clock.advance(250);
    return answer.end;
  });
  assert.strictEqual(answer.head?.status, 503);
  assert.strictEqual(fixture.source.connectFailures, 4);
  assert.strictEqual(fixture.source.open, 0);
});

test('a process whose backlog is full is asked again for five seconds, and blamed only then', () => {
  const verdicts = Array.from({ length: 20 }, (_, before) => judgeConnect('EAGAIN', before));
  assert.ok(verdicts.slice(0, 19).every(({ again, blame }) => again && !blame));
  assert.deepStrictEqual(verdicts[19], { again: false, blame: true });
  assert.deepStrictEqual(judgeConnect('ECONNREFUSED', 0), { again: true, blame: true });
  assert.deepStrictEqual(judgeConnect('ECONNREFUSED', 3), { again: false, blame: true });
  assert.deepStrictEqual(judgeConnect('EMFILE', 0), { again: true, blame: false });
});
