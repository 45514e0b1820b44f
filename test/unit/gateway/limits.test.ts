/** What ends a request early, what is said about it in the log, and what the core does when it runs short itself. */
import assert from 'node:assert';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { connect } from 'node:net';
import { test } from 'node:test';
import { passedLimit } from '../../../core/gateway/limits.js';
import { Listener } from '../../../core/gateway/listener.js';
import { acceptNext } from '../../../core/native.js';
import { eventually } from '../../support/eventually.js';
import { FakeClock } from '../../support/fake-clock.js';
import { Fixture } from './gateway-fixture.js';
import { SECRET, ShimClient, TABLE_HASH } from './shim-client.js';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';
const HALF = 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf';

test('PassengerMaxRequestTime: 504 before the head, and the app sees its request aborted', async (t) => {
  const clock = new FakeClock();
  const fixture = await Fixture.start(t, clock);
  let gone = false;
  await fixture.app((socket) => socket.resume().on('close', () => (gone = true)));
  const client = fixture.client();
  const answer = client.send({ settings: { maxRequestTime: 2 }, silenceMs: 60_000 });
  await eventually(1000, 'the app has the request', () => fixture.appSockets.length === 1);
  clock.advance(2000);
  assert.strictEqual(answer.end, undefined);
  clock.advance(500);
  await client.finished(answer);
  assert.strictEqual(answer.head?.status, 504);
  assert.match(answer.body, /PSG4012/);
  await eventually(1000, 'the app sees it', () => gone);
  assert.deepStrictEqual(fixture.source.outcomes, ['app-failed']);
  assert.strictEqual(fixture.lines.filter((line) => line.includes('PSG4012')).length, 1);
});

test('the silence of an app is told in whole milliseconds', () => {
  const facts = { sinceSent: 0, silentMs: 2500.4999, headSent: false, appIsDue: true };
  assert.deepStrictEqual(passedLimit(facts, 0, 1000)?.fields, { silentMs: 2500 });
});

test('PassengerMaxRequestTime does not end a request early, whenever the gateway has looked at its clock', async (t) => {
  const clock = new FakeClock();
  const fixture = await Fixture.start(t, clock);
  await fixture.app((socket) => socket.resume());
  const client = fixture.client();
  clock.advance(240);
  const answer = client.send({ settings: { maxRequestTime: 2 }, silenceMs: 60_000 });
  await eventually(5000, 'the app has the request', () => fixture.appSockets.length === 1);
  clock.advance(1790);
  fixture.listener.sweep();
  assert.deepStrictEqual(fixture.lines, [], 'after 1790 ms');
  clock.advance(1000);
  await client.finished(answer);
  assert.match(answer.body, /PSG4012/);
});

test('PassengerMaxRequestTime: an answer that is not complete is broken, also one that keeps moving', async (t) => {
  const clock = new FakeClock();
  const fixture = await Fixture.start(t, clock);
  await fixture.answering('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n');
  const client = fixture.client();
  const answer = client.send({ settings: { maxRequestTime: 2 }, silenceMs: 60_000 });
  for (let turn = 1; turn <= 8; turn += 1) {
    await eventually(1000, 'it moves', () => answer.dataBytes === turn);
    clock.advance(250);
    assert.strictEqual(answer.end, undefined);
    fixture.appSockets[0]?.write('1\r\n.\r\n');
  }
  clock.advance(500);
  await client.finished(answer);
  assert.strictEqual(answer.abort?.code, 'PSG4013');
  assert.strictEqual(answer.abort.status, 504);
});

test('PassengerMaxRequestTime counts from the app on: neither the upload before nor the waiting', async (t) => {
  const clock = new FakeClock();
  const fixture = await Fixture.start(t, clock);
  await fixture.answering(OK);
  fixture.source.hold = true;
  const client = fixture.client();
  const answer = client.send({ method: 'POST', bodyFollows: true, settings: { maxRequestTime: 1 } });
  client.body('a');
  clock.advance(5000);
  client.bodyEnd();
  await eventually(1000, 'the request waits', () => fixture.source.waiters.length === 1);
  clock.advance(5000);
  fixture.source.waiters[0]?.onSession(fixture.source.session());
  assert.strictEqual((await client.finished(answer)).body, 'hello');
});

test('PassengerMaxRequestQueueTime goes to the pool in milliseconds', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.answering(OK);
  await fixture.client().request({ settings: { maxRequestQueueTime: 3 } });
  assert.deepStrictEqual(fixture.source.options, [{ generation: 1, maxQueueTimeMs: 3000 }]);
});

test('failures of one kind are told once in ten seconds for each app, then with their number', async (t) => {
  const clock = new FakeClock();
  const fixture = await Fixture.start(t, clock);
  await fixture.answering('', true);
  const client = fixture.client();
  const lines = (): string[] => fixture.lines.filter((line) => line.includes('PSG4001'));
  for (let turn = 0; turn < 20; turn += 1) assert.strictEqual((await client.request()).head?.status, 502);
  assert.strictEqual(lines().length, 1);
  const settings = { appGroupName: 'other' };
  assert.strictEqual((await client.request({ settings })).head?.status, 502);
  assert.strictEqual(lines().length, 2, 'another app has a pace of its own');
  clock.advance(10_500);
  assert.strictEqual(lines().length, 3);
  assert.match(lines()[2] ?? '', /times=19/);
  await fixture.answering(HALF, true);
  assert.strictEqual((await client.request()).abort?.code, 'PSG4003');
  assert.strictEqual(fixture.lines.filter((line) => line.includes('PSG4003')).length, 1, 'another kind');
  clock.advance(60_000);
  assert.strictEqual(lines().length, 3, 'nothing is left to tell');
});

test('without descriptors new connections are closed, told once a minute, and taken again later', async (t) => {
  const clock = new FakeClock();
  const fixture = await Fixture.start(t, clock);
  await fixture.answering(OK);
  const listener = new Listener({
    gateway: fixture.gateway,
    admission: { secret: SECRET, tableHash: TABLE_HASH },
    peerUid: () => 0,
    peerLeft: () => false,
    acceptNext,
    backlog: 511,
    discard: () => undefined,
    allowedUids: new Set([0]),
    clock,
    // Of these 64 are kept for others; a fresh connection gets a number above what is left.
    maxDescriptors: 64 + 3,
  });
  const path = `${fixture.path}.short`;
  await listener.listen({ path });
  t.after(() => void listener.stop());
  const told = (): number => fixture.lines.filter((line) => line.includes('PSG3008')).length;
  for (let turn = 0; turn < 5; turn += 1) {
    const client = new ShimClient(path);
    await eventually(2000, 'it is closed', () => client.closed);
  }
  assert.strictEqual(told(), 1);
  assert.match(fixture.lines.join('\n'), /error PSG3008 .*EMFILE/);
  clock.advance(61_000);
  assert.strictEqual(told(), 2);
  assert.strictEqual((await fixture.client().request()).body, 'hello');
});

test('a core with very few descriptors goes on serving', { timeout: 60_000 }, () => {
  const script = join(__dirname, 'few-descriptors.ts');
  const command = `ulimit -n 110; exec "${process.execPath}" --import tsx "${script}"`;
  const { stdout, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8', timeout: 50_000 });
  assert.match(stdout, /PSG3008/, stderr);
  for (const when of ['before', 'during', 'after'])
    assert.match(stdout, new RegExp(`served ${when}: hello`), stderr);
});

for (const kind of ['streamed', 'in memory', 'in a file'] as const) {
  test(`an app that answers early and closes does not lose its answer (upload ${kind})`, async (t) => {
    const fixture = await Fixture.start(t);
    // A long answer, so that it cannot all be read before the write fails; the request's rest stays unread.
    const body = 'x'.repeat(150_000);
    await fixture.app((socket) => {
      socket.once('data', () => {
        socket.pause();
        socket.end(`HTTP/1.1 413 Too Large\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        socket.once('finish', () => socket.destroy());
      });
    });
    const size = kind === 'in memory' ? 120_000 : 8_000_000;
    const settings = { bufferUpload: kind !== 'streamed' };
    for (let turn = 0; turn < 10; turn += 1) {
      const client = fixture.client();
      const answer = client.send({ method: 'POST', bodyFollows: true, contentLength: size, settings });
      const piece = Buffer.alloc(40_000);
      for (let sent = 0; sent < size && answer.end === undefined; sent += piece.length) {
        if (!client.body(piece)) await new Promise((resolve) => setTimeout(resolve, 1));
      }
      if (kind !== 'streamed') client.bodyEnd();
      await client.finished(answer);
      assert.strictEqual(answer.head?.status, 413, answer.body.slice(0, 300));
      assert.strictEqual(answer.body, body);
      client.destroy();
    }
    assert.strictEqual(fixture.gateway.upstreams.idleCount, 0);
  });
}

test('a burst of 1,000 connections finds room in the backlog, and is taken in a few turns of the loop', async (t) => {
  const fixture = await Fixture.start(t);
  let failed = 0;
  // A connect to a Unix socket is over when the call returns: here nobody accepts in between.
  const burst = Array.from({ length: 1000 }, () => connect(fixture.path).on('error', () => (failed += 1)));
  t.after(() => burst.forEach((socket) => socket.destroy()));
  let turns = 0;
  while (fixture.listener.connections < 1000 && turns < 200) {
    await new Promise((turn) => setImmediate(turn));
    turns += 1;
  }
  assert.strictEqual(failed, 0);
  assert.strictEqual(fixture.listener.connections, 1000);
  assert.ok(turns < 60, `${turns} turns`);
});
