import assert from 'node:assert';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { PassengerError } from '../../../core/base/errors.js';
import { roomsInUse } from '../../../core/gateway/rooms.js';
import { eventually } from '../../support/eventually.js';
import { FakeClock } from '../../support/fake-clock.js';
import { Fixture } from './gateway-fixture.js';
import { ShimClient, type Answer, type RequestOptions } from './shim-client.js';

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

test('many exchanges on one connection use one app connection and decode settings once', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.answering(OK);
  const client = fixture.client();
  for (let n = 0; n < 200; n += 1) assert.strictEqual((await client.request()).body, 'hello');
  assert.strictEqual(fixture.appSockets.length, 1);
  assert.strictEqual(fixture.decoded, 1);
  assert.deepStrictEqual(fixture.source.options[199], { generation: 1 });
  assert.strictEqual(fixture.source.open, 0);
});

test('a buffered upload reaches the app with its length, in one piece with the head', async (t) => {
  const fixture = await Fixture.start(t);
  const seen: string[] = [];
  await fixture.app((socket) => {
    socket.on('data', (chunk) => {
      seen.push(chunk.toString());
      socket.write(OK);
    });
  });
  const client = fixture.client();
  const answer = client.send({ method: 'POST', bodyFollows: true });
  client.body('abc');
  client.body('defg');
  client.bodyEnd();
  await client.finished(answer);
  assert.deepStrictEqual(seen, ['POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 7\r\n\r\nabcdefg']);
});

test('no session is taken before a buffered upload is complete', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.answering(OK);
  const client = fixture.client();
  const answer = client.send({ method: 'POST', bodyFollows: true });
  client.body('abc');
  await eventually(1000, 'the request arrives', () => fixture.gateway.counters.started === 1);
  assert.strictEqual(fixture.source.checkouts, 0);
  client.cancel(2);
  assert.strictEqual((await client.finished(answer)).abort?.code, 'PSG4011');
  assert.strictEqual(fixture.source.checkouts, 0);
});

test('an upload that is not buffered is streamed in chunks', async (t) => {
  const fixture = await Fixture.start(t);
  let seen = '';
  await fixture.app((socket) => {
    socket.on('data', (chunk) => {
      seen += chunk.toString();
      if (seen.endsWith('0\r\n\r\n')) socket.write(OK);
    });
  });
  const client = fixture.client();
  const answer = client.send({ method: 'POST', bodyFollows: true, settings: { bufferUpload: false } });
  client.body('abc');
  await eventually(1000, 'the first chunk arrives', () => seen.includes('3\r\nabc\r\n'));
  client.body('defg');
  client.bodyEnd();
  assert.strictEqual((await client.finished(answer)).body, 'hello');
  assert.strictEqual(
    seen,
    'POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n',
  );
});

test('an early answer ends the exchange when the shim gives the upload up, and the connection goes on', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.answering('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno');
  const client = fixture.client();
  const settings = { bufferUpload: false };
  const answer = client.send({ method: 'POST', bodyFollows: true, contentLength: 1000, settings });
  client.body('abc');
  await client.finished(answer);
  assert.strictEqual(answer.head?.status, 413);
  client.body('more');
  client.cancel(3);
  assert.strictEqual((await client.request({ settings })).head?.status, 413);
  assert.strictEqual(fixture.appSockets.length, 2);
});

test('a large upload is kept in a file without a name and goes to the app whole', async (t) => {
  const fixture = await Fixture.start(t);
  const size = 200_000_000;
  let got = 0;
  let length = '';
  await fixture.app((socket) => {
    socket.on('data', (chunk) => {
      got += chunk.length;
      if (length === '') {
        const end = chunk.indexOf('\r\n\r\n') + 4;
        length = /Content-Length: (\d+)/.exec(chunk.toString('latin1', 0, end))?.[1] ?? '?';
        got -= end;
      }
      if (got === size) socket.write(OK);
    });
  });
  const before = process.memoryUsage().rss;
  const client = fixture.client();
  const answer = client.send({ method: 'POST', bodyFollows: true });
  const piece = Buffer.alloc(1_000_000, 'x');
  for (let sent = 0; sent < size; sent += piece.length) {
    if (!client.body(piece)) await new Promise((resolve) => client.socket.once('drain', resolve));
  }
  client.bodyEnd();
  await client.finished(answer, 20_000);
  assert.strictEqual(answer.body, 'hello');
  assert.strictEqual(length, String(size));
  assert.deepStrictEqual(fixture.bufferFiles(), []);
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < 120_000_000, `memory grew by ${grown}`);
});

test('without a buffer a client that reads slowly holds the app back, and memory stays flat', async (t) => {
  const fixture = await Fixture.start(t);
  fixture.gateway.responseBufferLimit = 0;
  const size = 200_000_000;
  let written = 0;
  await fixture.app((socket) => {
    const piece = Buffer.alloc(100_000, 'y');
    const more = (): void => {
      while (written < size) {
        written += piece.length;
        if (!socket.write(piece)) {
          socket.once('drain', more);
          return;
        }
      }
    };
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      more();
    });
  });
  const client = fixture.client();
  client.keepData = false;
  client.socket.pause();
  const answer = client.send();
  await eventually(3000, 'the app is held back', async () => {
    const at = written;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return at > 0 && written === at;
  });
  assert.ok(written < 5_000_000, `the app could write ${written}`);
  client.socket.resume();
  await client.finished(answer, 20_000);
  assert.strictEqual(answer.dataBytes, size);
  assert.strictEqual(fixture.gateway.upstreams.idleCount, 1);
});

/** From now on large bodies need the file. */
function takeAllMemory({ gateway }: Fixture): void {
  gateway.bodyMemory.take(gateway.bodyMemory.left);
}

test('a body of a megabyte needs no disk, also for an app that reads slowly or refuses it, and its memory comes back', async (t) => {
  const fixture = await Fixture.start(t);
  fixture.gateway.dataBufferDir = '/dev/null';
  const { left } = fixture.gateway.bodyMemory;
  const rooms = roomsInUse();
  const body = Buffer.alloc(1_000_000, 'b');
  let taken = 0;
  let refuse = false;
  await fixture.app((socket) => {
    let head = '';
    socket.on('data', (chunk) => {
      if (head === '') {
        head = chunk.toString('latin1', 0, chunk.indexOf('\r\n\r\n') + 4);
        taken = -head.length;
      }
      taken += chunk.length;
      if (refuse) socket.end('HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      else if (taken === body.length) socket.write(OK);
      socket.pause();
      setTimeout(() => socket.resume(), 1);
    });
  });
  const client = fixture.client();
  for (const status of [200, 413]) {
    refuse = status === 413;
    const answer = await client.finished(client.send({ method: 'POST', body }));
    assert.strictEqual(answer.head?.status, status);
    assert.strictEqual(fixture.gateway.bodyMemory.left, left);
    await eventually(2000, 'memory is back', () => roomsInUse() === rooms);
  }
  assert.strictEqual(fixture.gateway.counters.errors, 0);
});

test('a buffer directory that cannot be used gives 500 and a number', async (t) => {
  const fixture = await Fixture.start(t);
  fixture.gateway.dataBufferDir = '/dev/null';
  takeAllMemory(fixture);
  const client = fixture.client();
  const answer = client.send({ method: 'POST', body: Buffer.alloc(300_000) });
  await client.finished(answer);
  assert.strictEqual(answer.head?.status, 500);
  assert.match(answer.body, /PSG4009/);
  assert.strictEqual((await client.request({ settings: {} })).end, 'end');
});

test('a canceled request breaks the connection to the app and closes the session', async (t) => {
  const fixture = await Fixture.start(t);
  let gone = false;
  await fixture.app((socket) => {
    socket.resume();
    socket.on('close', () => (gone = true));
  });
  const client = fixture.client();
  const answer = client.send();
  await eventually(1000, 'the app has the request', () => fixture.appSockets.length === 1);
  client.cancel(1);
  await client.finished(answer);
  assert.strictEqual(answer.end, 'abort');
  await eventually(1000, 'the app sees it', () => gone);
  assert.deepStrictEqual(fixture.source.outcomes, ['canceled']);
  await fixture.answering(OK);
  assert.strictEqual((await client.request()).body, 'hello');
});

test('a shim connection that closes cancels its exchange, also in the waiting list', async (t) => {
  const fixture = await Fixture.start(t);
  fixture.source.hold = true;
  const client = fixture.client();
  client.send();
  await eventually(1000, 'the request waits', () => fixture.source.waiters.length === 1);
  client.destroy();
  await eventually(1000, 'its place is given up', () => fixture.source.canceled === 1);
});

test('a slow app is announced with ACCEPTED once, and a silent one ends in 504', async (t) => {
  const clock = new FakeClock();
  const fixture = await Fixture.start(t, clock);
  await fixture.app((socket) => socket.resume());
  const client = fixture.client();
  const answer = client.send({ silenceMs: 3000 });
  await eventually(1000, 'the app has the request', () => fixture.appSockets.length === 1);
  clock.advance(500);
  assert.strictEqual(answer.accepted, 0);
  clock.advance(500);
  await eventually(1000, 'ACCEPTED', () => answer.accepted === 1);
  clock.advance(2500);
  await client.finished(answer);
  assert.strictEqual(answer.accepted, 1);
  assert.strictEqual(answer.head?.status, 504);
  assert.match(answer.body, /PSG4005/);
});

test('an app that falls silent in its body is aborted', async (t) => {
  const clock = new FakeClock();
  const fixture = await Fixture.start(t, clock);
  await fixture.answering('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf');
  const client = fixture.client();
  const answer = client.send({ silenceMs: 3000 });
  await eventually(1000, 'the head is there', () => answer.dataBytes === 4);
  clock.advance(3500);
  await client.finished(answer);
  assert.strictEqual(answer.abort?.code, 'PSG4006');
});

test('failures of the pool become a page: safe in production, detailed and escaped in development, JSON on wish', async (t) => {
  const fixture = await Fixture.start(t);
  fixture.source.hold = true;
  const client = fixture.client();
  const fail = async (options: RequestOptions): Promise<Answer> => {
    const answer = client.send(options);
    const count = fixture.source.waiters.length;
    await eventually(1000, 'the request waits', () => fixture.source.waiters.length > count);
    fixture.source.waiters
      .at(-1)
      ?.onFailure(new PassengerError('PSG4007', { output: '<script>alert(1)</script>' }));
    return client.finished(answer);
  };
  const plain = await fail({});
  assert.strictEqual(plain.head?.status, 503);
  assert.strictEqual(plain.field('retry-after'), '2');
  assert.ok(!plain.body.includes('script>'));
  const friendly = await fail({ settings: { friendlyErrorPages: true } });
  assert.ok(friendly.body.includes('&lt;script&gt;alert(1)'));
  const json = await fail({ fields: 'Accept: application/json\r\n' });
  assert.strictEqual((JSON.parse(json.body) as { error: { code: string } }).error.code, 'PSG4007');
  const none = await fail({ method: 'HEAD' });
  assert.strictEqual(none.body, '');
  assert.strictEqual(none.end, 'end');
});

test('a module that leaves while the app does not read the upload ends the exchange all the same', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.app((socket) => socket.pause());
  const client = fixture.client();
  const answer = client.send({ method: 'POST', bodyFollows: true, settings: { bufferUpload: false } });
  const piece = 'x'.repeat(65_536);
  await eventually(5000, 'the upload is held back', () => {
    client.body(piece);
    return client.socket.writableLength > 4 * piece.length;
  });
  // Later frames of ours would hit the closed socket; there are none until the app answers.
  await eventually(2000, 'the exchange is announced', () => answer.accepted === 1);
  assert.strictEqual(fixture.source.open, 1);
  client.socket.destroy();
  await eventually(2000, 'the session is given back', () => fixture.source.open === 0);
});

test('strangers are refused: other uid, wrong secret, version or table, or no greeting', async (t) => {
  const clock = new FakeClock();
  const fixture = await Fixture.start(t, clock);
  const refused = async (client: ShimClient): Promise<string | undefined> => {
    await eventually(1000, 'the connection is closed', () => client.closed);
    return client.reject?.code;
  };
  assert.strictEqual(await refused(fixture.client({ secret: Buffer.alloc(32, 8) })), 'PSG3004');
  assert.strictEqual(await refused(fixture.client({ version: 2 })), 'PSG3002');
  assert.strictEqual(await refused(fixture.client({ tableHash: 'ffffffffffffffff' })), 'PSG3003');
  const broken = fixture.client();
  broken.socket.write(Buffer.from([0x99, 0, 0, 0, 0, 0, 0, 0]));
  assert.strictEqual(await refused(broken), 'PSG3001');
  const silent = new ShimClient(fixture.path, false);
  await eventually(1000, 'it is accepted', () => fixture.listener.connections === 1);
  clock.advance(5500);
  assert.strictEqual(await refused(silent), undefined);
  fixture.peerUid = 4711;
  assert.strictEqual(await refused(fixture.client()), undefined);
});

test('stopping lets the open exchange end and closes idle connections', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.app((socket) => socket.resume());
  const busy = fixture.client();
  const idle = fixture.client();
  const answer = busy.send();
  await eventually(
    1000,
    'both are there',
    () => fixture.appSockets.length === 1 && fixture.listener.connections === 2,
  );
  const stopped = fixture.listener.stop();
  await eventually(1000, 'the idle one is closed', () => idle.closed);
  fixture.appSockets[0]?.write(OK);
  assert.strictEqual((await busy.finished(answer)).body, 'hello');
  await stopped;
  assert.strictEqual(fixture.listener.connections, 0);
});

test('a full disk is 507, and the connection goes on', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'psg-full-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', dir]).status === 0;
  t.after(() => {
    if (mounted) spawnSync('umount', ['-l', dir]);
    rmSync(dir, { recursive: true, force: true });
  });
  if (!mounted) return t.skip('needs the right to mount a small file system');
  const fixture = await Fixture.start(t);
  await fixture.answering(OK);
  fixture.gateway.dataBufferDir = dir;
  takeAllMemory(fixture);
  const client = fixture.client();
  const answer = client.send({ method: 'POST', body: Buffer.alloc(1_000_000) });
  await client.finished(answer);
  assert.strictEqual(answer.head?.status, 507);
  assert.deepStrictEqual(readdirSync(dir), []);
  assert.strictEqual((await client.request({ method: 'POST', body: 'small' })).body, 'hello');
});
