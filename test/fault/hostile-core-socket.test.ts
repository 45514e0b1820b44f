/**
 * What Apache's user can do to the core through its socket: without the secret nothing but be closed, with it (a child that was
 * taken over) no more than ask for what a client may ask for. The core stays up, and everybody else is served meanwhile.
 */
import assert from 'node:assert/strict';
import { encodeEntry } from '../../core/config/settings-block.js';
import { encodeFrame, encodeRequest } from '../../core/wire/encoder.js';
import { FRAME, REQUEST_FLAG } from '../../core/wire/frames.js';
import { decodeRefusal } from '../../core/wire/head-frame.js';
import { decodeRequest } from '../../core/wire/request-frame.js';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { assertWithin, patience } from '../support/patience.js';
import { Random, seedFromEnvironment } from '../fuzz/random.js';
import { ask } from '../integration/client.js';
import { seenByApp } from '../integration/hostile.js';
import { corePid, fdCount, rule, site, type Scene } from '../integration/kit.js';
import { attack, coreSocket, overhear, type Attack, type AttackResult } from './core-socket.js';

const HANDSHAKE_MS = 5000;

interface Overheard {
  readonly apache: Apache;
  readonly path: string;
  readonly hello: Buffer;
  /** Settings block of `a.test`, as the module sends it. */
  readonly settings: Buffer;
}

async function serve(scene: Scene): Promise<Overheard> {
  const app = await scene.app('raw-answers');
  const command = `PassengerAppStartCommand "${process.execPath} app.js"`;
  const apache = await scene.start({ vhosts: [site('a.test', app, command)] });
  apache.allowLog(/PSG(1009|2001|3\d{3})/);
  const { hello, request } = await overhear(apache, 'a.test');
  const { settings } = decodeRequest(request[1] ?? 0, request.subarray(8));
  assert.ok(settings !== undefined, 'the first request brings its settings');
  assert.equal((await ask(apache.port, 'a.test', '/seen')).status, 200);
  return { apache, path: coreSocket(apache), hello, settings };
}

async function isServed(apache: Apache): Promise<void> {
  const begun = performance.now();
  assert.equal((await ask(apache.port, 'a.test', '/good/1')).text, '/good/1');
  assertWithin(begun, 2000, 'an answer');
}

function changed(bytes: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = value;
  return copy;
}

/** The refusal that came, after other frames or none; undefined where there is none. */
function refusal({ received }: AttackResult): { type: number; code: string } | undefined {
  const bytes = Buffer.from(received, 'hex');
  for (let at = 0; at + 8 <= bytes.length;) {
    const type = bytes[at] ?? 0;
    const end = at + 8 + bytes.readUInt32BE(at + 4);
    if (type === FRAME.REJECT || type === FRAME.ABORT)
      return { type, code: decodeRefusal(bytes.subarray(at + 8, end)).code };
    at = end;
  }
  return undefined;
}

rule('without the secret: closed at once, whatever is sent', { root: true }, async (scene) => {
  const { apache, path, hello, settings } = await serve(scene);
  const core = corePid(apache);
  const headerBlock = Buffer.from('GET /smuggled HTTP/1.1\r\nHost: a.test\r\n');
  const request = encodeRequest({ flags: REQUEST_FLAG.NO_BODY, exchangeId: 1n, settings, headerBlock });
  const known: readonly (readonly [what: string, bytes: Buffer, code: string])[] = [
    ['wrong secret', changed(hello, 63, (hello[63] ?? 0) ^ 1), 'PSG3004'],
    ['first bit of the secret', changed(hello, 32, (hello[32] ?? 0) ^ 0x80), 'PSG3004'],
    ['wrong table', changed(hello, 24, (hello[24] ?? 0) ^ 1), 'PSG3003'],
    ['wrong version', changed(hello, 17, 2), 'PSG3002'],
    ['wrong magic', changed(hello, 8, 0x51), 'PSG3001'],
    ['reserved bytes', changed(hello, 2, 1), 'PSG3001'],
    ['flags', changed(hello, 1, 1), 'PSG3001'],
    ['length too large', changed(hello, 4, 0xff), 'PSG3001'],
    ['a request first', request, 'PSG3001'],
    ['a frame of the core', encodeFrame(FRAME.END), 'PSG3001'],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n'), 'PSG3001'],
  ];
  const attacks = known.map(([, bytes]): Attack => ({
    parts: [Buffer.concat([bytes, request]).toString('hex')],
  }));
  const results = await attack(path, attacks);
  for (const [index, [what, , code]] of known.entries()) {
    const result = results[index];
    assert.ok(result?.closed === true && result.ms < patience(2000), `${what} is closed`);
    assert.deepEqual(refusal(result), { type: FRAME.REJECT, code }, what);
  }
  const random = new Random(seedFromEnvironment());
  const noise = Array.from({ length: 200 }, (): Attack => {
    const bytes = random.bytes(64 + random.below(4000));
    // Never by chance the beginning of a frame that is worth waiting for.
    bytes[0] = 0xff;
    return { parts: [bytes.toString('hex')] };
  });
  for (const { closed } of await attack(path, noise)) assert.ok(closed, `random bytes, SEED=${random.seed}`);
  assert.deepEqual(await seenByApp(apache), []);
  await isServed(apache);
  assert.equal(corePid(apache), core, 'the same core');
});

const LINE = 'GET /smuggled HTTP/1.1\r\n';
const INJECTED: readonly string[] = [
  `${LINE}Host: a.test\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n`,
  `${LINE}Host: a.test\nX: y\r\n`,
  `${LINE}Host: a.test\rX: y\r\n`,
  `${LINE}Host: a\0.test\r\n`,
  `${LINE}Host: a.test\r\n folded: 1\r\n`,
  `${LINE}Content-Length: 100\r\n`,
  `${LINE}Transfer-Encoding: chunked\r\n`,
  `${LINE}Connection: Upgrade\r\nUpgrade: websocket\r\n`,
  'GET /smuggled HTTP/1.1',
  'GET /smuggled\r\n',
  '\r\n\r\n',
  'GET /smuggled HTTP/1.1\r\n\r\n',
  'GET /a\r\nGET /smuggled HTTP/1.1\r\n',
];

rule(
  'with the secret: broken frames and injected lines end the connection and reach no app',
  { root: true },
  async (scene) => {
    const { apache, path, hello, settings } = await serve(scene);
    const core = corePid(apache);
    const good = Buffer.from(`${LINE}Host: a.test\r\n`);
    const make = (
      headerBlock: Buffer,
      flags: number = REQUEST_FLAG.NO_BODY,
      block = settings,
      contentLength = 0,
    ): Buffer => encodeRequest({ flags, exchangeId: 1n, settings: block, headerBlock, contentLength });
    const whole = make(good);
    const unknown = encodeEntry(9, 0, 0, 'x');
    const known: readonly (readonly [what: string, bytes: Buffer, code: string])[] = [
      ...INJECTED.map((block): [string, Buffer, string] => [
        JSON.stringify(block),
        make(Buffer.from(block, 'latin1')),
        'PSG3001',
      ]),
      ['greeting again', hello, 'PSG3001'],
      ['body outside a request', encodeFrame(FRAME.BODY, 0, Buffer.from('x')), 'PSG3001'],
      ['unknown type', encodeFrame(0x77), 'PSG3001'],
      ['unknown flag', changed(whole, 1, 0x80), 'PSG3001'],
      ['reserved bytes', changed(whole, 3, 1), 'PSG3001'],
      ['length beyond the limit', changed(whole, 4, 0x10), 'PSG3001'],
      ['lengths that do not add up', changed(whole, 8 + 35, (whole[8 + 35] ?? 0) + 1), 'PSG3001'],
      [
        'content length beyond counting',
        changed(make(good, REQUEST_FLAG.LENGTH_KNOWN), 8 + 16, 0xff),
        'PSG3001',
      ],
      ['wrong hash', changed(whole, 8 + 8, (whole[8 + 8] ?? 0) ^ 1), 'PSG3001'],
      [
        'hash that nobody has sent',
        encodeRequest({
          flags: REQUEST_FLAG.NO_BODY | REQUEST_FLAG.SETTINGS_CACHED,
          exchangeId: 1n,
          settings,
          cached: true,
          headerBlock: good,
        }),
        'PSG3001',
      ],
      [
        'settings with an unknown tag',
        make(good, REQUEST_FLAG.NO_BODY, Buffer.concat([settings, unknown])),
        'PSG2001',
      ],
      [
        'settings that are cut',
        make(good, REQUEST_FLAG.NO_BODY, settings.subarray(0, settings.length - 1)),
        'PSG2001',
      ],
      ['settings of noise', make(good, REQUEST_FLAG.NO_BODY, Buffer.from('noise and more noise')), 'PSG2001'],
      [
        'settings with a length beyond them',
        make(good, REQUEST_FLAG.NO_BODY, changed(settings, 4, 0xff)),
        'PSG2001',
      ],
      [
        'body longer than announced',
        Buffer.concat([
          make(good, REQUEST_FLAG.LENGTH_KNOWN, settings, 3),
          encodeFrame(FRAME.BODY, 0, Buffer.from('xxxx')),
        ]),
        'PSG3001',
      ],
      [
        'body shorter than announced',
        Buffer.concat([
          make(good, REQUEST_FLAG.LENGTH_KNOWN, settings, 3),
          encodeFrame(FRAME.BODY, 0, Buffer.from('xx')),
          encodeFrame(FRAME.BODY_END),
        ]),
        'PSG3001',
      ],
      [
        'second request before the end of the first',
        Buffer.concat([make(good, REQUEST_FLAG.LENGTH_KNOWN, settings, 3), make(good)]),
        'PSG3001',
      ],
    ];
    const attacks = known.map(([, bytes]): Attack => ({
      parts: [Buffer.concat([hello, bytes]).toString('hex')],
    }));
    const results = await attack(path, attacks);
    for (const [index, [what, , code]] of known.entries()) {
      const result = results[index];
      assert.ok(result?.closed === true && result.ms < patience(2000), `${what} is closed`);
      assert.equal(refusal(result)?.code, code, what);
    }
    // Cut anywhere, the connection is simply left.
    const stream = Buffer.concat([hello, make(good, REQUEST_FLAG.LENGTH_KNOWN, settings, 3)]);
    const cuts = Array.from({ length: stream.length }, (_, at): Attack => ({
      parts: [stream.subarray(0, at).toString('hex')],
      waitMs: 1,
    }));
    await attack(path, cuts);
    assert.deepEqual(await seenByApp(apache), []);
    await isServed(apache);
    assert.equal(corePid(apache), core, 'the same core');
  },
);

rule(
  'thousands of silent and slow connections are closed in time, while others are served',
  { root: true, timeoutMs: 120_000 },
  async (scene) => {
    const { apache, path, hello } = await serve(scene);
    const core = corePid(apache);
    const before = fdCount(core);
    const silent = Array.from({ length: 3000 }, (): Attack => ({ parts: [], waitMs: 30_000 }));
    // A byte at a time is no sign of life.
    const slow = Array.from({ length: 50 }, (): Attack => ({
      parts: Array.from(hello, (byte) => Buffer.from([byte]).toString('hex')),
      pauseMs: 500,
      waitMs: 30_000,
    }));
    const attacking = attack(path, [...slow, ...silent], 3050);
    await eventually(20_000, 'the connections are there', () => fdCount(core) > before + 2500);
    for (let turn = 0; turn < 20; turn += 1) await isServed(apache);
    const results = await attacking;
    assert.equal(results.filter(({ closed }) => !closed).length, 0, 'all are closed by the core');
    const longest = Math.max(...results.map(({ ms }) => ms));
    assert.ok(longest < HANDSHAKE_MS + patience(6000), `${longest} ms`);
    await eventually(10_000, 'the descriptors are back', () => fdCount(core) <= before + 3);
    const lines = apache
      .log()
      .split('\n')
      .filter((line) => line.includes('PSG3006'));
    assert.ok(lines.length >= 1 && lines.length < 10, `${lines.length} lines about it`);
    await isServed(apache);
    assert.equal(corePid(apache), core, 'the same core');
  },
);
