import assert from 'node:assert';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { FrameDecoder } from '../../../core/wire/decoder.js';
import { encodeFrame, encodeHello, encodeRefusal, encodeRequest } from '../../../core/wire/encoder.js';
import { FRAME, REQUEST_FLAG, WireError, type Sender } from '../../../core/wire/frames.js';
import { decodeHead, decodeRefusal, encodeHead, fieldText } from '../../../core/wire/head-frame.js';
import {
  decodeHello,
  decodeRequest,
  exchangeIdText,
  settingsHash,
} from '../../../core/wire/request-frame.js';
import { VECTORS_FILE, vectorsText } from '../../wire/make-vectors.js';

/** mulberry32: small, fast, and the same everywhere. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

function decode(sender: Sender, chunks: readonly Buffer[]): { frames: string[]; boundary: boolean } {
  const frames: string[] = [];
  const decoder = new FrameDecoder(sender, {
    onFrame: (type, flags, payload) => void frames.push(`${type} ${flags} ${payload.toString('hex')}`),
  });
  for (const chunk of chunks) decoder.push(chunk);
  return { frames, boundary: decoder.atBoundary };
}

/** A BODY may be handed out in pieces: what counts is the stream that they make. */
function joined({ frames, boundary }: ReturnType<typeof decode>): ReturnType<typeof decode> {
  const body = `${FRAME.BODY} 0 `;
  const together: string[] = [];
  for (const frame of frames) {
    const before = together.at(-1);
    if (frame.startsWith(body) && before?.startsWith(body) === true)
      together[together.length - 1] = before + frame.slice(body.length);
    else together.push(frame);
  }
  return { frames: together, boundary };
}

function split(bytes: Buffer, next: () => number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const take = next() < 0.5 ? 1 + Math.floor(next() * 12) : 1 + Math.floor(next() * 2000);
    chunks.push(bytes.subarray(at, at + take));
    at += take;
  }
  return chunks;
}

function vectors(): Map<string, Buffer> {
  const lines = readFileSync(VECTORS_FILE, 'utf8').trimEnd().split('\n');
  return new Map(
    lines.map((line) => [line.split('\t')[0] ?? '', Buffer.from(line.split('\t')[1] ?? '', 'hex')]),
  );
}

test('the shared vectors are current', () => {
  assert.strictEqual(readFileSync(VECTORS_FILE, 'utf8'), vectorsText());
});

test('a piece of a BODY is handed out as it comes, and nothing is copied', () => {
  const frame = encodeFrame(FRAME.BODY, 0, Buffer.from('abcdefgh'));
  const stream = Buffer.concat([frame, encodeFrame(FRAME.BODY_END, 0, Buffer.alloc(0))]);
  const pieces: string[] = [];
  const decoder = new FrameDecoder('shim', {
    onFrame: (type, _flags, payload) => {
      pieces.push(`${type} ${payload.toString()}`);
      if (payload.length > 0) assert.strictEqual(payload.buffer, stream.buffer);
    },
  });
  let start = 0;
  for (const end of [3, 8, 11, 15, stream.length]) {
    decoder.push(stream, start, end);
    start = end;
    if (end < 16) assert.strictEqual(decoder.atBoundary, false);
  }
  assert.strictEqual(decoder.atBoundary, true);
  assert.deepStrictEqual(pieces, [
    `${FRAME.BODY} abc`,
    `${FRAME.BODY} defg`,
    `${FRAME.BODY} h`,
    `${FRAME.BODY_END} `,
  ]);
});

test('any split of a valid stream gives the same frames', (t) => {
  t.diagnostic(`SEED=${SEED}`);
  const next = random(SEED);
  const all = vectors();
  const shim: Buffer[] = [];
  const core: Buffer[] = [];
  for (let n = 0; n < 40; n += 1) {
    for (const [name, bytes] of all) {
      if (name.startsWith('stream')) continue;
      ((bytes[0] ?? 0) >= 0x80 ? core : shim).push(bytes);
    }
    shim.push(encodeFrame(FRAME.BODY, 0, Buffer.alloc(1 + Math.floor(next() * 65_536), n)));
  }
  for (const [sender, frames] of [
    ['shim', shim],
    ['core', core],
  ] as const) {
    const stream = Buffer.concat(frames);
    const whole = decode(sender, [stream]);
    assert.strictEqual(whole.frames.length, frames.length);
    for (let n = 0; n < 20; n += 1)
      assert.deepStrictEqual(joined(decode(sender, split(stream, next))), joined(whole));
  }
});

test('random bytes give frames or a WireError, never anything else', (t) => {
  t.diagnostic(`SEED=${SEED}`);
  const next = random(SEED + 1);
  const valid = [...vectors().values()];
  for (let n = 0; n < 3000; n += 1) {
    const base = valid[Math.floor(next() * valid.length)] ?? Buffer.alloc(0);
    const bytes = Buffer.from(base);
    for (let flips = Math.floor(next() * 4); flips >= 0; flips -= 1) {
      bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256);
    }
    const sender = next() < 0.5 ? 'shim' : 'core';
    const decoder = new FrameDecoder(sender, {
      onFrame: (type, flags, payload) => {
        if (type === FRAME.REQUEST) decodeRequest(flags, payload);
        else if (type === FRAME.HELLO) decodeHello(payload);
        else if (type === FRAME.HEAD || type === FRAME.INTERIM) decodeHead(payload);
        else if (type === FRAME.ABORT || type === FRAME.REJECT) decodeRefusal(payload);
      },
    });
    try {
      for (const chunk of split(bytes, next)) decoder.push(chunk);
    } catch (error) {
      assert.ok(error instanceof WireError, String(error));
    }
  }
});

test('a frame that lies in one chunk is a view of it, without a copy', () => {
  const chunk = encodeFrame(FRAME.BODY, 0, Buffer.from('abc'));
  const decoder = new FrameDecoder('shim', {
    onFrame: (_type, _flags, payload) => assert.strictEqual(payload.buffer, chunk.buffer),
  });
  decoder.push(chunk);
});

test('limits are checked before the payload arrives', () => {
  const cases: readonly (readonly [hex: string, sender: Sender])[] = [
    ['0300000000010001', 'shim'], // BODY of 65,537
    ['0300000000000000', 'shim'], // BODY of nothing
    ['0200000000040001', 'shim'], // REQUEST of 262,145
    ['82000000ffffffff', 'core'],
    ['8200000000020001', 'core'], // HEAD of 131,073
    ['8400000000010001', 'core'],
    ['8600000000000401', 'core'], // ABORT of 1,025
    ['0100000000000037', 'shim'], // HELLO of 55
    ['0400000000000001', 'shim'], // BODY_END with a payload
    ['0480000000000000', 'shim'], // unknown flag
    ['0400010000000000', 'shim'], // reserved byte
    ['0600000000000000', 'shim'], // unknown type
    ['8500000000000000', 'shim'], // a frame of the other side
  ];
  for (const [hex, sender] of cases) {
    assert.throws(() => decode(sender, [Buffer.from(hex, 'hex')]), WireError, hex);
    assert.throws(
      () =>
        decode(
          sender,
          [...Buffer.from(hex, 'hex')].map((byte) => Buffer.from([byte])),
        ),
      WireError,
      hex,
    );
  }
});

test('what was encoded is decoded', () => {
  const secret = Buffer.alloc(32, 3);
  const hello = decodeHello(
    encodeHello({ generation: 9, tableHash: 'fedcba9876543210', secret }).subarray(8),
  );
  assert.deepStrictEqual([hello.version, hello.generation, hello.tableHash], [1, 9, 'fedcba9876543210']);
  assert.deepStrictEqual(Buffer.from(hello.secret), secret);
  const parts = {
    flags: REQUEST_FLAG.LENGTH_KNOWN,
    exchangeId: 0x1234_5678_9abc_def0n,
    contentLength: 2 ** 40 + 5,
    silenceMs: 300_000,
    settings: Buffer.from('settings'),
    headerBlock: Buffer.from('GET / HTTP/1.1\r\n'),
  };
  const frame = encodeRequest(parts);
  const request = decodeRequest(frame[1] ?? 0, frame.subarray(8));
  assert.strictEqual(exchangeIdText(request.idHigh, request.idLow), '123456789abcdef0');
  assert.strictEqual(request.contentLength, 2 ** 40 + 5);
  assert.strictEqual(request.settings?.toString(), 'settings');
  assert.strictEqual(request.payload.toString('latin1', request.blockStart), 'GET / HTTP/1.1\r\n');
  const head = { status: 299, reason: 'Fine', count: 1, fields: fieldText('X-Long', 'v'.repeat(60_000)) };
  assert.deepStrictEqual(decodeHead(encodeHead(head).subarray(8)), {
    status: 299,
    reason: 'Fine',
    fields: [['X-Long', 'v'.repeat(60_000)]],
  });
  assert.deepStrictEqual(decodeRefusal(encodeRefusal(FRAME.ABORT, 502, 'PSG4003').subarray(8)), {
    status: 502,
    code: 'PSG4003',
  });
});

test('a REQUEST that contradicts itself is refused', () => {
  const base = { exchangeId: 1n, settings: Buffer.from('s'), headerBlock: Buffer.from('GET / HTTP/1.1\r\n') };
  const bad: Buffer[] = [
    encodeRequest({ ...base, flags: 0, contentLength: 5 }),
    encodeRequest({ ...base, flags: REQUEST_FLAG.NO_BODY | REQUEST_FLAG.LENGTH_KNOWN, contentLength: 5 }),
    encodeRequest({ ...base, flags: REQUEST_FLAG.SETTINGS_CACHED }),
    encodeRequest({ ...base, flags: 0, cached: true }),
    encodeRequest({ ...base, flags: 0, headerBlock: Buffer.from('GET / HTTP/1.1') }),
    encodeRequest({ ...base, flags: 0, headerBlock: Buffer.from('GET / HTTP/1.1\r\n\r\n') }),
  ];
  for (const frame of bad) assert.throws(() => decodeRequest(frame[1] ?? 0, frame.subarray(8)), WireError);
});

test('the settings hash is FNV-1a of 64 bits', () => {
  assert.strictEqual(settingsHash(Buffer.from('')), 0xcbf29ce484222325n);
  assert.strictEqual(settingsHash(Buffer.from('a')), 0xaf63dc4c8601ec8cn);
  assert.strictEqual(settingsHash(Buffer.from('foobar')), 0x85944171f73967e8n);
});
