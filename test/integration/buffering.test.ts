/** Slow clients, large bodies and full disks: what the server takes over from the app, and what it costs. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import * as http2 from 'node:http2';
import { join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { eventually } from '../support/eventually.js';
import type { Apache } from '../support/apache.js';
import { assertWithin, patience } from '../support/patience.js';
import { RawClient, ask } from './client.js';
import { type Scene, corePid, fdCount, logLine, rule } from './kit.js';
import { openSessions, peaks } from './pool-view.js';
import { MB, upAndDown } from './transfer.js';

const ONE_AT_A_TIME = 'PassengerForceMaxConcurrentRequestsPerProcess 1';
/** What Apache itself keeps for a client in the kernel. */
const SMALL_BUFFERS = 'SendBufferSize 32768';

function get(path: string, fields = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: a.test\r\n${fields}\r\n`;
}

/** A client that has asked and does not read. */
async function slowReader(apache: Apache, path: string): Promise<RawClient> {
  const client = await RawClient.open(apache.port);
  client.socket.pause();
  client.send(get(path));
  return client;
}

/** Bytes of an answer's body that came, from now on counted instead of kept. */
function bodyBytes(client: RawClient): Promise<number> {
  return new Promise((resolve) => {
    let count = 0;
    let head = Buffer.alloc(0);
    let inBody = false;
    client.socket.removeAllListeners('data');
    client.socket.on('data', (part: Buffer) => {
      if (inBody) count += part.length;
      else {
        head = Buffer.concat([head, part]);
        const end = head.indexOf('\r\n\r\n');
        inBody = end >= 0;
        if (inBody) count = head.length - end - 4;
      }
    });
    client.socket.once('close', () => resolve(count));
    client.socket.once('end', () => client.close());
    client.socket.resume();
  });
}

rule(
  'a slow reader holds no session: an app that does one thing at a time answers others',
  {},
  async (scene) => {
    const { apache } = await scene.serve('probe', ONE_AT_A_TIME, {
      server: `PassengerMaxPoolSize 1\n${SMALL_BUFFERS}`,
    });
    await ask(apache.port, 'a.test', '/');
    const client = await slowReader(apache, '/size?n=30000000');
    await eventually(5000, 'the app is free', async () => (await openSessions(apache)) === 0);
    const begun = performance.now();
    assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
    assertWithin(begun, 2000, 'an answer');
    client.send(get('/', 'Connection: close\r\n'));
    const count = await bodyBytes(client);
    assert.ok(count > 30_000_000 && count < 30_001_000, `${count} bytes and a second answer`);
  },
);

rule('beyond PassengerResponseBufferHighWatermark the app waits for its reader', {}, async (scene) => {
  const { apache } = await scene.serve('probe', '', {
    server: `PassengerResponseBufferHighWatermark 4000000\n${SMALL_BUFFERS}`,
  });
  await ask(apache.port, 'a.test', '/');
  const client = await slowReader(apache, '/size?n=30000000');
  await new Promise((turn) => setTimeout(turn, 2000));
  assert.equal(await openSessions(apache), 1);
  client.send(get('/', 'Connection: close\r\n'));
  assert.ok((await bodyBytes(client)) > 30_000_000);
  await eventually(2000, 'the app is free', async () => (await openSessions(apache)) === 0);
});

for (const buffered of [true, false]) {
  const upload = `PassengerBufferUpload ${buffered ? 'on' : 'off'}`;
  rule(`300 MB up and down with flat memory (${upload})`, {}, (scene) => upAndDown(scene, 300 * MB, upload));
}

/** A file system of `size` as PassengerDataBufferDir. */
async function onSmallDisk(
  scene: Scene,
  size: string,
  body: (apache: Apache, directory: string) => Promise<void>,
): Promise<void> {
  const home = await scene.app('probe');
  const directory = join(home, 'small-disk');
  mkdirSync(directory);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=1777`, 'tmpfs', directory]);
  assert.equal(mounted.status, 0, 'mount');
  try {
    const { apache } = await scene.serve('probe', '', {
      server: `PassengerDataBufferDir ${directory}\n${SMALL_BUFFERS}`,
    });
    apache.allowLog(/PSG40(08|14)/);
    await ask(apache.port, 'a.test', '/');
    await body(apache, directory);
    assert.deepEqual(readdirSync(directory), [], 'no file is left');
  } finally {
    spawnSync('umount', ['-l', directory]);
  }
}

rule(
  'disk full: an upload gets 507, a numbered line, and the next one is served',
  { root: true },
  async (scene) => {
    await onSmallDisk(scene, '1m', async (apache) => {
      for (let turn = 0; turn < 3; turn += 1) {
        const answer = await ask(apache.port, 'a.test', '/sha', { body: Buffer.alloc(10 * MB) });
        assert.equal(answer.status, 507, answer.failure);
        assert.match(answer.text, /PSG4008/);
      }
      await logLine(apache, /PSG4008/);
      assert.equal(apache.log().match(/PSG4008/g)?.length, 1, 'once, not for each request');
      const small = await ask(apache.port, 'a.test', '/sha', { body: Buffer.alloc(100_000) });
      assert.equal(small.json<{ length: number }>().length, 100_000);
    });
  },
);

rule('disk full: the answer for a slow reader arrives whole all the same', { root: true }, async (scene) => {
  await onSmallDisk(scene, '1m', async (apache) => {
    const client = await slowReader(apache, '/size?n=20000000');
    await logLine(apache, /PSG4014/);
    client.send(get('/', 'Connection: close\r\n'));
    assert.ok((await bodyBytes(client)) > 20_000_000);
  });
});

/** The core has closed what it held for clients that have gone; idle connections to the app may stay. */
async function letGo(apache: Apache, before: number): Promise<void> {
  const buffers = (): string[] =>
    apache.coreDescriptors().filter((target) => target.includes('passenger.body.'));
  await eventually(10_000, 'buffers are closed', () => buffers().length === 0);
  await eventually(10_000, 'connections are closed', () => fdCount(corePid(apache)) < before + 60);
}

const MANY_WORKERS = [
  'ThreadLimit 300',
  'ServerLimit 4',
  'StartServers 4',
  'ThreadsPerChild 300',
  'MaxRequestWorkers 1200',
  'MinSpareThreads 1',
  'MaxSpareThreads 1200',
  'ListenBacklog 1024',
  'PassengerMaxWorkerShare 95',
  'PassengerMaxPoolSize 1',
  SMALL_BUFFERS,
].join('\n');
const SLOW_CLIENTS = 500;
const PER_WAVE = 25;

rule(
  '500 clients that send and 500 that read a byte a second: the app answers others, and no session is held',
  { timeoutMs: 180_000 },
  async (scene) => {
    const { apache } = await scene.serve('probe', 'PassengerForceMaxConcurrentRequestsPerProcess 20', {
      server: MANY_WORKERS,
    });
    await ask(apache.port, 'a.test', '/');
    const clients: RawClient[] = [];
    const descriptors = fdCount(corePid(apache));
    for (let turn = 0; turn < SLOW_CLIENTS; turn += 1) {
      // They come one after the other, as slow clients do.
      if (turn % PER_WAVE === 0) assert.equal((await ask(apache.port, 'a.test', '/')).status, 200);
      const sender = await RawClient.open(apache.port);
      sender.send('POST /sha HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n');
      clients.push(sender, await slowReader(apache, '/size?n=1500000'));
    }
    const second = setInterval(() => {
      for (const { socket } of clients) {
        // Senders send a byte; readers take one. What they have not taken waits in the server.
        if (socket.isPaused()) socket.read(1);
        else if (socket.writable) socket.write('x');
      }
    }, 1000);
    try {
      await eventually(60_000, 'no session is held', async () => {
        const begun = performance.now();
        const answer = await ask(apache.port, 'a.test', '/');
        assert.equal(answer.status, 200, answer.failure);
        assertWithin(begun, 10_000, 'an answer for others');
        return (await openSessions(apache)) === 0;
      });
      for (let turn = 0; turn < 20; turn += 1) {
        const begun = performance.now();
        assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
        assertWithin(begun, 2000, 'an answer');
      }
      assert.equal(await openSessions(apache), 0);
    } finally {
      clearInterval(second);
      for (const client of clients) client.close();
    }
    await letGo(apache, descriptors);
    assert.ok((peaks(apache).get('core') ?? 0) < 400, 'memory of the core is bounded');
  },
);

rule(
  'events arrive at once, also compressed, also through HTTP/2, also while a slow reader is served',
  {},
  async (scene) => {
    const { apache } = await scene.serve('probe', 'SetOutputFilter DEFLATE', {
      modules: ['deflate', 'filter', 'http2'],
      server: `Protocols h2c http/1.1\n${SMALL_BUFFERS}`,
    });
    await ask(apache.port, 'a.test', '/');
    const descriptors = fdCount(corePid(apache));
    const slow = await slowReader(apache, '/size?n=30000000');
    const session = http2.connect(`http://127.0.0.1:${apache.port}`);
    for (const encoding of ['identity', 'gzip']) {
      const stream = session.request({
        ':path': '/sse?n=4&ms=300',
        ':authority': 'a.test',
        'accept-encoding': encoding,
      });
      const gunzip = createGunzip();
      const text = encoding === 'gzip' ? stream.pipe(gunzip) : stream;
      const arrivals: number[] = [];
      text.on('data', (part: Buffer) => {
        for (const event of part.toString().match(/event \d/g) ?? [])
          arrivals[Number(event.slice(6))] = performance.now();
      });
      await new Promise((resolve) => text.once('end', resolve));
      const gaps = [1, 2, 3].map((at) => (arrivals[at] ?? 0) - (arrivals[at - 1] ?? 0));
      assert.ok(
        gaps.every((gap) => gap > 100 && gap < 900),
        `${encoding}: ${gaps.map(Math.round).join(' ')}`,
      );
    }
    session.destroy();
    slow.close();
    await letGo(apache, descriptors);
  },
);

rule(
  'PassengerMaxRequestTime: 504 before the head, a broken answer after it, and the app is told',
  {},
  async (scene) => {
    const { apache } = await scene.serve('probe', 'PassengerMaxRequestTime 1');
    await ask(apache.port, 'a.test', '/');
    apache.allowLog(/PSG401[23]/);
    const pid = (await ask(apache.port, 'a.test', '/pid')).text;
    const silent = await ask(apache.port, 'a.test', '/hang');
    assert.equal(silent.status, 504);
    assert.match(silent.text, /PSG4012/);
    assert.ok(silent.doneMs >= 1000 && silent.doneMs < patience(3000), `${silent.doneMs} ms`);
    await eventually(1000, 'the app was told', async () => {
      return (await ask(apache.port, 'a.test', '/aborted')).json<{ state: string }>().state === 'aborted';
    });
    const stream = await ask(apache.port, 'a.test', '/sse?n=100&ms=100');
    assert.equal(stream.status, 200);
    assert.equal(stream.complete, false);
    assert.equal((await ask(apache.port, 'a.test', '/pid')).text, pid, 'the process goes on');
    await logLine(apache, /PSG4013/);
  },
);

rule('PassengerMaxRequestQueueTime: 503 with Retry-After', {}, async (scene) => {
  const { apache } = await scene.serve('probe', `PassengerMaxRequestQueueTime 1\n${ONE_AT_A_TIME}`, {
    server: 'PassengerMaxPoolSize 1',
  });
  await ask(apache.port, 'a.test', '/');
  apache.allowLog(/PSG5002/);
  const busy = ask(apache.port, 'a.test', '/slow?ms=3000');
  await eventually(3000, 'the app is busy', async () => (await openSessions(apache)) === 1);
  const answer = await ask(apache.port, 'a.test', '/');
  assert.equal(answer.status, 503);
  assert.notEqual(answer.headers['retry-after'], undefined);
  assert.ok(answer.doneMs > 900 && answer.doneMs < patience(2500), `${answer.doneMs} ms`);
  assert.equal((await busy).status, 200);
});
