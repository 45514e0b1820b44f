/**
 * What the Autobahn test suite asks of WebSocket servers, as far as a tunnel between client and server can spoil it: lengths,
 * write boundaries, order, and ends. Written from RFC 6455; whether frames are valid is the app's business (package ws).
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { serveTls } from './certificate.js';
import { ask } from './client.js';
import { needsPackage, rule } from './kit.js';
import { closePayload, frame, RawWebSocket, type Door } from './raw-websocket.js';

const OPTIONS = { skip: needsPackage('ws'), timeoutMs: 180_000 };
/** Tunnels of event have no thread, those of worker and prefork hold one: two different pieces of code; TLS has its filters. */
const WAYS = [
  { name: 'event', mpm: 'event', tls: false },
  { name: 'event with TLS', mpm: 'event', tls: true },
  { name: 'prefork', mpm: 'prefork', tls: false },
  { name: 'prefork with TLS', mpm: 'prefork', tls: true },
] as const;

/** On both sides of each border between the three forms of the length, and more than any buffer on the way holds. */
const SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] as const;
const LARGEST_BYTE_BY_BYTE = 65_536;

interface Site extends Door {
  readonly apache: Apache;
}

type Case = (site: Site) => Promise<void>;

/** Runs with a client that closes politely at the end. */
function connected(body: (client: RawWebSocket) => Promise<void>): Case {
  return async (site) => {
    const client = await RawWebSocket.open(site);
    await body(client);
    await client.write(frame('close', closePayload(1000)));
    await client.expect('close', closePayload(1000));
    await client.expectEnd();
  };
}

function text(size: number): string {
  return 'tunnel '.repeat(Math.ceil(size / 7)).slice(0, size);
}

async function codesSeen({ apache: { port } }: Site): Promise<(readonly [number, string])[]> {
  return (await ask(port, 'a.test', '/seen')).json<{ closes: (readonly [number, string])[] }>().closes;
}

const sizes = connected(async (client) => {
  for (const size of SIZES) {
    await client.write(frame('text', text(size)));
    await client.expect('text', text(size));
    const bytes = randomBytes(size);
    await client.write(frame('binary', bytes));
    await client.expect('binary', bytes);
  }
});

function chopped(chunk: number, largest: number): Case {
  return connected(async (client) => {
    for (const size of SIZES.filter((candidate) => candidate <= largest)) {
      const bytes = randomBytes(size);
      await client.writeChopped(frame('binary', bytes), chunk);
      await client.expect('binary', bytes);
    }
  });
}

const fragments = connected(async (client) => {
  const parts = [
    frame('text', 'one ', false),
    frame('ping', 'first'),
    frame('continuation', '', false),
    frame('continuation', 'two ', false),
    frame('ping', 'second'),
    frame('pong', 'nobody asked'),
    frame('continuation', 'three'),
  ];
  const send = [
    () => client.write(Buffer.concat(parts)),
    () => client.writeChopped(Buffer.concat(parts), 1),
    async () => {
      for (const part of parts) await client.write(part);
    },
  ];
  for (const way of send) {
    await way();
    await client.expect('pong', 'first');
    await client.expect('pong', 'second');
    await client.expect('text', 'one two three');
  }
});

const manyFragments = connected(async (client) => {
  const parts = Array.from({ length: 64 }, () => randomBytes(1024));
  for (const [index, part] of parts.entries())
    await client.write(frame(index === 0 ? 'binary' : 'continuation', part, index === 63));
  await client.expect('binary', Buffer.concat(parts));
});

const pings = connected(async (client) => {
  const payloads = [0, 1, 2, 3, 4, 5, 6, 7, 124, 125].map((size) => randomBytes(size));
  await client.write(Buffer.concat(payloads.map((payload) => frame('ping', payload))));
  for (const payload of payloads) await client.expect('pong', payload);
  await client.writeChopped(frame('ping', text(125)), 1);
  await client.expect('pong', text(125));
});

const closes: Case = async (site) => {
  for (const [code, reason] of [
    [1000, ''],
    [1000, 'bye'],
    [1001, 'going away'],
    [3000, 'a registered one'],
    [4999, 'x'.repeat(123)],
  ] as const) {
    const client = await RawWebSocket.open(site);
    await client.write(frame('close', closePayload(code, reason)));
    await client.expect('close', closePayload(code, reason));
    await client.expectEnd();
    await eventually(5000, `the app sees ${code}`, async () =>
      (await codesSeen(site)).some(([seen, why]) => seen === code && why === reason),
    );
  }
  const silent = await RawWebSocket.open(site);
  await silent.write(frame('close'));
  await silent.expect('close', '');
  await silent.expectEnd();
  // 1005: closed without a code.
  await eventually(5000, 'the app sees it', async () =>
    (await codesSeen(site)).some(([code]) => code === 1005),
  );
};

const closeOfTheApp: Case = async (site) => {
  for (const code of [1000, 1011, 3000, 4999]) {
    const client = await RawWebSocket.open(site);
    await client.write(frame('text', `close ${code}`));
    await client.expect('close', closePayload(code, 'as you wish'));
    assert.equal(client.ended, false, 'the app waits for the answer');
    await client.write(frame('close', closePayload(code)));
    await client.expectEnd();
  }
};

const afterClose: Case = async (site) => {
  const behind = [frame('text', 'after'), frame('ping', 'after'), frame('close', closePayload(4000))];
  const before = [frame('text', 'before'), frame('close', closePayload(1000, 'done'))];
  const together = await RawWebSocket.open(site);
  await together.write(Buffer.concat([...before, ...behind]));
  await together.expect('text', 'before');
  await together.expect('close', closePayload(1000, 'done'));
  await together.expectEnd();
  const apart = await RawWebSocket.open(site);
  for (const part of [...before, ...behind]) await apart.write(part);
  await apart.expect('text', 'before');
  await apart.expect('close', closePayload(1000, 'done'));
  await apart.expectEnd();
};

const manySmall = connected(async (client) => {
  const messages = Array.from({ length: 500 }, (_, index) => `message ${index}`);
  const frames = messages.map((message) => frame('text', message));
  await client.write(Buffer.concat(frames));
  for (const message of messages) await client.expect('text', message);
  for (const one of frames) await client.write(one);
  for (const message of messages) await client.expect('text', message);
});

/** Each breaks a rule that the app watches; its close code must come through. */
const broken: Case = async (site) => {
  const unmasked = Buffer.from([0x81, 0x01, 0x41]);
  const reserved = frame('text', 'x');
  reserved[0] = 0xf1;
  for (const [code, bytes] of [
    [1002, unmasked],
    [1002, reserved],
    [1002, frame('continuation', 'of nothing')],
    [1002, frame('close', closePayload(1005))],
    [1007, frame('text', Buffer.from([0xce, 0xba, 0xed, 0xa0, 0x80]))],
  ] as const) {
    const client = await RawWebSocket.open(site);
    await client.write(bytes);
    const answer = await client.take();
    assert.equal(answer.kind, 'close');
    assert.equal(answer.payload.readUInt16BE(0), code);
    client.destroy();
  }
};

const CASES: readonly (readonly [title: string, body: Case])[] = [
  ['messages of every form of length come back', sizes],
  ['frames that are written byte by byte come back', chopped(1, LARGEST_BYTE_BY_BYTE)],
  ['frames that are written in pieces of 997 bytes come back', chopped(997, 1 << 20)],
  ['pings between the fragments of a message are answered before it', fragments],
  ['a message of many fragments comes back whole', manyFragments],
  ['ten pings in one write get ten pongs in order', pings],
  ["the client's close code and reason reach the app and come back", closes],
  ["the app's close code reaches the client, and the connection waits for the answer", closeOfTheApp],
  ['what a client sends behind its close is ignored', afterClose],
  ['500 small messages back to back keep their order', manySmall],
  ['frames that break the rules get the close code of the app', broken],
];

for (const { name, mpm, tls } of WAYS) {
  for (const [title, body] of CASES) {
    rule(`${name}: ${title}`, OPTIONS, async (scene) => {
      const { apache, tlsPort } = await serveTls(scene, '', [], { app: 'tunnel-app', mpm });
      await body({ apache, port: tls ? tlsPort : apache.port, tls });
    });
  }
}
