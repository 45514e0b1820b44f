/**
 * Whole connections of random frames, valid, broken and out of order, against listener and gateway: whatever a peer that knows
 * the secret sends, nothing is thrown, every session is given back, and others are served.
 */
import assert from 'node:assert';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { encodeFrame, encodeHello, encodeRequest } from '../../../core/wire/encoder.js';
import { FRAME, REQUEST_FLAG } from '../../../core/wire/frames.js';
import { Random, pieces, seedFromEnvironment } from '../../fuzz/random.js';
import { eventually } from '../../support/eventually.js';
import { Fixture } from './gateway-fixture.js';
import { SECRET, TABLE_HASH } from './shim-client.js';

const BUDGET_MS = 4000;
const AT_ONCE = 8;

const SETTINGS = [Buffer.from('{}'), Buffer.from('{"bufferUpload":false}')];
const BLOCKS = [
  'GET / HTTP/1.1\r\nHost: a\r\n',
  'POST /x HTTP/1.1\r\nHost: a\r\nX: y\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled HTTP/1.1\r\n',
  'GET / HTTP/1.1\r\nContent-Length: 5\r\n',
];

function hello(random: Random): Buffer {
  const secret = random.chance(0.05) ? random.bytes(32) : SECRET;
  return encodeHello({ generation: random.below(3), tableHash: TABLE_HASH, secret });
}

function request(random: Random, known: Set<Buffer>): Buffer {
  const settings = random.pick(SETTINGS);
  const cached = known.has(settings) ? random.chance(0.9) : random.chance(0.03);
  known.add(settings);
  let flags = cached ? REQUEST_FLAG.SETTINGS_CACHED : 0;
  for (const flag of [
    REQUEST_FLAG.NO_BODY,
    REQUEST_FLAG.HEAD_METHOD,
    REQUEST_FLAG.UPGRADE,
    REQUEST_FLAG.REPLAYABLE,
  ])
    if (random.chance(0.3)) flags |= flag;
  let contentLength = 0;
  if (random.chance(0.3)) {
    flags |= REQUEST_FLAG.LENGTH_KNOWN;
    if ((flags & REQUEST_FLAG.NO_BODY) === 0) contentLength = random.below(200_000);
  }
  const headerBlock = Buffer.from(random.chance(0.9) ? random.pick(BLOCKS.slice(0, 2)) : random.pick(BLOCKS));
  const silenceMs = random.pick([0, 1, 500, 60_000]);
  return encodeRequest({ flags, exchangeId: 1n, contentLength, silenceMs, settings, cached, headerBlock });
}

function odd(random: Random, known: Set<Buffer>): Buffer {
  switch (random.below(5)) {
    case 0:
      return encodeFrame(FRAME.BODY, 0, random.bytes(1 + random.below(50)));
    case 1:
      return encodeFrame(FRAME.BODY_END);
    case 2:
      return encodeFrame(FRAME.CANCEL, 0, Buffer.from([random.below(6)]));
    case 3:
      return encodeFrame(random.below(256), random.below(256), random.bytes(random.below(100)));
    default:
      return request(random, known);
  }
}

/** One exchange, mostly as it should be. */
function turn(random: Random, known: Set<Buffer>): Buffer {
  const first = request(random, known);
  const frames = [first];
  const flags = first[1] ?? 0;
  let left = Number(first.readBigUInt64BE(8 + 16));
  if ((flags & REQUEST_FLAG.LENGTH_KNOWN) === 0) left = random.below(random.pick([1, 100, 100_000]));
  if ((flags & (REQUEST_FLAG.NO_BODY | REQUEST_FLAG.UPGRADE)) === 0) {
    while (left > 0) {
      const count = Math.min(left, 1 + random.below(65_536));
      frames.push(encodeFrame(FRAME.BODY, 0, Buffer.alloc(count, 'x')));
      left -= count;
    }
    frames.push(encodeFrame(FRAME.BODY_END));
  }
  if (random.chance(0.2)) frames.splice(random.below(frames.length + 1), random.below(2), odd(random, known));
  const bytes = Buffer.concat(frames);
  for (let n = random.chance(0.1) ? 1 + random.below(3) : 0; n > 0; n -= 1)
    bytes[random.below(bytes.length)] = random.below(256);
  return random.chance(0.1) ? bytes.subarray(0, random.below(bytes.length)) : bytes;
}

function opened(path: string): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('error', () => undefined);
    socket.on('connect', () => resolve(socket));
  });
}

/** One connection: greeting, a few exchanges, then an end of some kind. */
async function play(path: string, random: Random): Promise<void> {
  const socket = await opened(path);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  if (random.chance(0.9)) socket.resume();
  const known = new Set<Buffer>();
  const turns = [random.chance(0.97) ? hello(random) : random.bytes(64)];
  for (let n = random.below(5); n > 0; n -= 1) turns.push(turn(random, known));
  for (const bytes of turns) {
    for (const part of bytes.length > 3000 ? [bytes] : pieces(random, bytes)) socket.write(part);
    await pause(random.below(6));
  }
  if (random.chance(0.5)) socket.end();
  else socket.destroy();
  // A side that only ends its own direction still sees the other end in time.
  socket.resume();
  await closed;
}

test(
  'no sequence of frames harms anybody but the connection that it came on',
  { timeout: 60_000 },
  async (t) => {
    const seed = seedFromEnvironment();
    t.diagnostic(`SEED=${seed}`);
    const random = new Random(seed);
    const fixture = await Fixture.start(t);
    let answered = 0;
    await fixture.app((socket) => {
      socket.on('data', () => {
        answered += 1;
        const kind = answered % 7;
        if (kind === 1) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort');
        else if (kind === 2)
          socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhi');
        else if (kind === 3) socket.write('nonsense\r\n\r\n');
        else if (kind === 4) return;
        else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      });
    });
    const end = performance.now() + BUDGET_MS;
    let connections = 0;
    while (performance.now() < end) {
      await Promise.all(Array.from({ length: AT_ONCE }, () => play(fixture.path, random)));
      connections += AT_ONCE;
    }
    t.diagnostic(`${connections} connections, ${answered} requests`);
    assert.ok(connections > 50 && answered > 20);
    await eventually(5000, 'all connections are closed', () => fixture.listener.connections === 0);
    assert.strictEqual(fixture.source.open, 0, 'every session was given back');
    assert.deepStrictEqual(fixture.bufferFiles(), []);
    await fixture.answering('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    assert.strictEqual((await fixture.client().request()).body, 'ok');
  },
);
