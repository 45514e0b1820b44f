/** Slow readers: their answers wait in memory and in a nameless file, and the app is free. */
import assert from 'node:assert';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { eventually } from '../../support/eventually.js';
import { FakeClock } from '../../support/fake-clock.js';
import { BUFFER_LIMIT, Fixture } from './gateway-fixture.js';
import type { Answer, ShimClient } from './shim-client.js';

const MB = 1_048_576;

/** Bytes that tell where they stand. */
function pattern(total: number): Buffer {
  const bytes = Buffer.allocUnsafe(total);
  for (let at = 0; at + 4 <= total; at += 4) bytes.writeUInt32LE(at, at);
  return bytes;
}

function sha(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

type Framing = 'length' | 'chunked' | 'close';

/** An app that answers with `body` as fast as it is taken; tells how far it has come. */
class Pouring {
  written = 0;
  socket: Socket | undefined;
  constructor(
    private readonly body: Buffer,
    private readonly framing: Framing = 'length',
    private readonly upTo = body.length,
  ) {}

  serve(socket: Socket): void {
    socket.on('data', () => {
      this.socket = socket;
      this.written = 0;
      socket.write(`HTTP/1.1 200 OK\r\n${this.#framingField()}\r\n`);
      this.#more(socket);
    });
  }

  #framingField(): string {
    if (this.framing === 'length') return `Content-Length: ${this.body.length}\r\n`;
    return this.framing === 'chunked' ? 'Transfer-Encoding: chunked\r\n' : '';
  }

  #more(socket: Socket): void {
    while (this.written < this.upTo) {
      const piece = this.body.subarray(this.written, Math.min(this.written + 100_000, this.upTo));
      this.written += piece.length;
      const head = this.framing === 'chunked' ? `${piece.length.toString(16)}\r\n` : '';
      const tail = this.framing === 'chunked' ? '\r\n' : '';
      if (socket.write(Buffer.concat([Buffer.from(head), piece, Buffer.from(tail)]))) continue;
      socket.once('drain', () => this.#more(socket));
      return;
    }
    if (this.upTo < this.body.length) return;
    if (this.framing === 'chunked') socket.write('0\r\n\r\n');
    else if (this.framing === 'close') socket.end();
  }
}

interface Scene {
  readonly fixture: Fixture;
  readonly clock: FakeClock;
  readonly client: ShimClient;
  readonly answer: Answer;
  readonly app: Pouring;
}

/** A client that has asked and does not read. */
async function slowReader(t: TestContext, app: Pouring, set?: (fixture: Fixture) => void): Promise<Scene> {
  const clock = new FakeClock();
  const fixture = await Fixture.start(t, clock);
  await fixture.app((socket) => app.serve(socket));
  set?.(fixture);
  const client = fixture.client();
  client.socket.pause();
  return { fixture, clock, client, answer: client.send(), app };
}

/** Lets sweeps pass until `condition` holds. */
async function sweepUntil(clock: FakeClock, what: string, condition: () => boolean): Promise<void> {
  await eventually(10_000, what, () => {
    clock.advance(250);
    return condition();
  });
}

/** Sweeps until the app has not moved for a while. */
async function untilHeldBack({ clock, app }: Pick<Scene, 'clock' | 'app'>): Promise<void> {
  let before = -1;
  let still = 0;
  await sweepUntil(clock, 'the app is held back', () => {
    still = app.written > 0 && app.written === before ? still + 1 : 0;
    before = app.written;
    return still > 10;
  });
}

/** Buffer files that this process has open. */
function openBuffers(directory: string): number {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return targets.filter((target) => target.startsWith(directory) && target.endsWith('(deleted)')).length;
}

function smallDisk(t: TestContext, size: string): string | undefined {
  const dir = mkdtempSync(join(tmpdir(), 'psg-full-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', dir]).status === 0;
  t.after(() => {
    if (mounted) spawnSync('umount', ['-l', dir]);
    rmSync(dir, { recursive: true, force: true });
  });
  return mounted ? dir : undefined;
}

for (const framing of ['length', 'chunked', 'close'] as const) {
  test(`a slow reader holds no session, and gets everything in the end (${framing})`, async (t) => {
    const body = pattern(5 * MB);
    const scene = await slowReader(t, new Pouring(body, framing));
    const { fixture, clock, client, answer } = scene;
    await sweepUntil(clock, 'the session is free', () => fixture.source.outcomes.length === 1);
    assert.deepStrictEqual(fixture.source.outcomes, ['ok']);
    assert.strictEqual(fixture.gateway.upstreams.idleCount, framing === 'close' ? 0 : 1);
    assert.strictEqual(openBuffers(fixture.bufferDir), 1);
    assert.deepStrictEqual(fixture.bufferFiles(), [], 'the file has no name');
    // Nothing is due any more: the app has done its part.
    clock.advance(120_000);
    assert.strictEqual(answer.end, undefined);
    client.socket.resume();
    await client.finished(answer, 10_000);
    assert.strictEqual(answer.end, 'end');
    assert.strictEqual(sha(Buffer.concat(answer.data)), sha(body));
    await eventually(2000, 'the file is closed', () => openBuffers(fixture.bufferDir) === 0);
    const again = await client.finished(client.send(), 10_000);
    assert.strictEqual(again.dataBytes, body.length);
    assert.deepStrictEqual(fixture.lines, []);
  });
}

test('beyond the limit the app is held back, and goes on when the reader does', async (t) => {
  const body = pattern(60 * MB);
  const before = process.memoryUsage().rss;
  const scene = await slowReader(t, new Pouring(body));
  const { fixture, client, answer, app } = scene;
  client.keepData = false;
  const hash = createHash('sha256');
  client.onData = (bytes) => hash.update(bytes);
  await untilHeldBack(scene);
  assert.ok(app.written >= BUFFER_LIMIT && app.written < BUFFER_LIMIT + 3 * MB, `${app.written} bytes`);
  assert.strictEqual(fixture.source.open, 1);
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < 40 * MB, `memory grew by ${grown}`);
  client.socket.resume();
  await client.finished(answer, 20_000);
  assert.strictEqual(answer.end, 'end');
  assert.strictEqual(hash.digest('hex'), sha(body));
});

test('a reader that reads on and off gets each byte once and in order', async (t) => {
  const body = pattern(40 * MB);
  const { client, answer, clock } = await slowReader(t, new Pouring(body));
  client.keepData = false;
  const hash = createHash('sha256');
  client.onData = (bytes) => hash.update(bytes);
  for (let turn = 0; answer.end === undefined && turn < 2000; turn += 1) {
    client.socket[turn % 3 === 0 ? 'resume' : 'pause']();
    clock.advance(250);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  client.socket.resume();
  await client.finished(answer, 20_000);
  assert.strictEqual(hash.digest('hex'), sha(body));
});

test('a reader that keeps up causes no file, however large the answer', async (t) => {
  const body = pattern(60 * MB);
  const { fixture, clock, client, answer } = await slowReader(t, new Pouring(body), (made) => {
    made.gateway.dataBufferDir = '/dev/null';
  });
  client.keepData = false;
  client.socket.resume();
  const timer = setInterval(() => clock.advance(250), 250);
  t.after(() => clearInterval(timer));
  await client.finished(answer, 20_000);
  assert.strictEqual(answer.dataBytes, body.length);
  assert.deepStrictEqual(fixture.lines, []);
});

test('with a limit of 0 nothing goes to a file', async (t) => {
  const scene = await slowReader(t, new Pouring(pattern(5 * MB)), (made) => {
    made.gateway.responseBufferLimit = 0;
    made.gateway.dataBufferDir = '/dev/null';
  });
  await untilHeldBack(scene);
  assert.ok(scene.app.written < 2 * MB);
  scene.client.socket.resume();
  await scene.client.finished(scene.answer, 10_000);
  assert.strictEqual(scene.answer.dataBytes, 5 * MB);
  assert.deepStrictEqual(scene.fixture.lines, []);
});

test('a full disk holds the app back instead of losing an answer, with one line in the log', async (t) => {
  const dir = smallDisk(t, '1m');
  if (dir === undefined) return t.skip('needs the right to mount a small file system');
  const body = pattern(20 * MB);
  const scene = await slowReader(t, new Pouring(body), (made) => (made.gateway.dataBufferDir = dir));
  const { fixture, client, answer, app } = scene;
  await untilHeldBack(scene);
  assert.ok(app.written < 5 * MB, `${app.written} bytes`);
  const otherApp = new Pouring(body);
  await fixture.app((socket) => otherApp.serve(socket));
  const second = fixture.client();
  second.socket.pause();
  second.keepData = false;
  const other = second.send();
  await sweepUntil(scene.clock, 'the other is held back', () => fixture.source.open === 2);
  await untilHeldBack({ clock: scene.clock, app: otherApp });
  assert.strictEqual(fixture.lines.filter((line) => line.includes('PSG4014')).length, 1);
  assert.deepStrictEqual(readdirSync(dir), []);
  client.socket.resume();
  second.socket.resume();
  await client.finished(answer, 10_000);
  await second.finished(other, 10_000);
  assert.strictEqual(sha(Buffer.concat(answer.data)), sha(body));
  assert.strictEqual(other.dataBytes, body.length);
  assert.strictEqual(openBuffers(dir), 0);
});

test('a directory for files that is none holds the app back, too', async (t) => {
  const scene = await slowReader(t, new Pouring(pattern(5 * MB)), (made) => {
    made.gateway.dataBufferDir = '/dev/null';
  });
  await untilHeldBack(scene);
  assert.match(scene.fixture.lines.join('\n'), /PSG4014 .*error=ENOTDIR/);
  scene.client.socket.resume();
  await scene.client.finished(scene.answer, 10_000);
  assert.strictEqual(scene.answer.dataBytes, 5 * MB);
});

test('a client that goes away while its answer is kept: the file is dropped and the connection stays in step', async (t) => {
  const { fixture, clock, client, answer } = await slowReader(t, new Pouring(pattern(5 * MB)));
  await sweepUntil(clock, 'the session is free', () => fixture.source.outcomes.length === 1);
  client.cancel(1);
  client.socket.resume();
  await client.finished(answer, 5000);
  assert.strictEqual(answer.end, 'abort');
  assert.ok(answer.dataBytes < 5 * MB);
  await eventually(2000, 'the file is closed', () => openBuffers(fixture.bufferDir) === 0);
  assert.strictEqual((await client.finished(client.send(), 10_000)).dataBytes, 5 * MB);
  assert.deepStrictEqual(fixture.source.outcomes, ['ok', 'ok']);
});

test('a client that goes away while the app is still answering: the app sees it', async (t) => {
  const scene = await slowReader(t, new Pouring(pattern(60 * MB)));
  const { fixture, client, answer, app } = scene;
  await untilHeldBack(scene);
  let gone = false;
  app.socket?.once('close', () => (gone = true));
  client.cancel(1);
  client.socket.resume();
  await client.finished(answer, 5000);
  await eventually(1000, 'the app sees it', () => gone);
  assert.deepStrictEqual(fixture.source.outcomes, ['canceled']);
  await eventually(2000, 'the file is closed', () => openBuffers(fixture.bufferDir) === 0);
});

test('an app that dies while its answer is kept: the answer never looks complete', async (t) => {
  const scene = await slowReader(t, new Pouring(pattern(20 * MB), 'length', 4 * MB));
  const { fixture, client, answer, app } = scene;
  await untilHeldBack(scene);
  app.socket?.destroy();
  await eventually(2000, 'the session is closed', () => fixture.source.open === 0);
  client.socket.resume();
  await client.finished(answer, 5000);
  assert.strictEqual(answer.abort?.code, 'PSG4003');
  await eventually(2000, 'the file is closed', () => openBuffers(fixture.bufferDir) === 0);
});

test('a tunnel holds the app back and uses no file', async (t) => {
  const clock = new FakeClock();
  const fixture = await Fixture.start(t, clock);
  fixture.gateway.dataBufferDir = '/dev/null';
  let written = 0;
  await fixture.app((socket) => {
    const piece = Buffer.alloc(65_536);
    const more = (): void => {
      do written += piece.length;
      while (socket.write(piece) && written < 20 * MB);
      if (written < 20 * MB) socket.once('drain', more);
    };
    socket.once('data', () => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
      more();
    });
  });
  const client = fixture.client();
  client.socket.pause();
  client.keepData = false;
  const answer = client.send({ upgrade: true, fields: 'Connection: Upgrade\r\nUpgrade: x\r\n' });
  let before = -1;
  await sweepUntil(clock, 'the app is held back', () => {
    const still = written > 0 && written === before;
    before = written;
    return still;
  });
  for (let turn = 0; turn < 20; turn += 1) clock.advance(250);
  assert.ok(written < 3 * MB, `${written} bytes`);
  client.socket.resume();
  await eventually(10_000, 'everything has come', () => answer.dataBytes >= 20 * MB);
  assert.deepStrictEqual(fixture.lines, []);
});
