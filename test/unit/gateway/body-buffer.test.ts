/** Where a request's body waits: in memory while there is room for all, then in a file; and what goes back afterwards. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { BodyBuffer, recyclePieces } from '../../../core/gateway/body-buffer.js';
import { BodyMemory, bodyMemoryShare } from '../../../core/gateway/body-memory.js';
import { HeldRooms, coolRooms, recycleRoom, roomsInUse, takeRoom } from '../../../core/gateway/rooms.js';
import { eventually } from '../../support/eventually.js';

const KB = 1024;
const MB = 1024 * KB;

class Scene {
  readonly memory: BodyMemory;
  readonly directory = mkdtempSync(join(tmpdir(), 'psg-body-'));
  readonly body: BodyBuffer;
  stored = false;
  failed = '';
  roomCalls = 0;

  constructor(t: TestContext, memoryBytes: number) {
    this.memory = new BodyMemory(memoryBytes);
    this.body = new BodyBuffer(this.directory, this.memory, {
      bodyRoom: () => (this.roomCalls += 1),
      bodyStored: () => (this.stored = true),
      bodyFailed: (error) => (this.failed = error.code ?? error.message),
    });
    t.after(() => rmSync(this.directory, { recursive: true }));
  }

  /** `total` bytes that tell where they stand, in pieces of `size`. */
  append(total: number, size: number): void {
    for (let at = 0; at < total; at += size) this.body.append(pattern(at, Math.min(size, total - at)));
  }

  finish(): void {
    if (this.body.finish()) this.stored = true;
  }

  read(position: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.body.read(position, (error, pieces) => {
        const bytes = Buffer.concat(pieces.map((piece) => piece.bytes));
        recyclePieces(pieces);
        if (error === null) resolve(bytes);
        else reject(error);
      });
    });
  }
}

function pattern(start: number, length: number): Buffer {
  return Buffer.from(
    Uint8Array.from({ length }, (_, at) => ((start + at) * 31 + ((start + at) >> 8)) & 0xff),
  );
}

function inMemory(body: BodyBuffer): Buffer {
  return Buffer.concat(body.memory ?? assert.fail('it is in a file'));
}

test('a body of a megabyte stays in memory while there is room for all, and gives back what it took', (t) => {
  const scene = new Scene(t, 4 * MB);
  const rooms = roomsInUse();
  scene.append(MB, 8000);
  scene.finish();
  assert.ok(scene.stored);
  assert.ok(inMemory(scene.body).equals(pattern(0, MB)));
  assert.equal(scene.memory.left, 3 * MB + 64 * KB, 'the first 64 KB are free');
  scene.body.dispose(recycleRoom);
  scene.body.dispose(recycleRoom);
  assert.equal(scene.memory.left, 4 * MB);
  assert.equal(roomsInUse(), rooms);
});

test('what the memory for all does not take goes to a file, whole and in order', async (t) => {
  for (const memoryBytes of [0, 128 * KB, 64 * MB]) {
    const scene = new Scene(t, memoryBytes);
    const rooms = roomsInUse();
    const total = 5 * MB + 123;
    scene.append(total, 30_000);
    assert.equal(scene.body.memory, undefined);
    assert.ok(scene.body.full, 'the sender is held back until the disk has caught up');
    scene.finish();
    await eventually(5000, 'it is stored', () => scene.stored);
    assert.equal(scene.memory.left, memoryBytes, 'nothing is in memory any more');
    assert.equal(roomsInUse(), rooms);
    assert.ok(!scene.body.full && scene.roomCalls > 0);
    assert.deepEqual(readdirSync(scene.directory), [], 'the file has no name');
    const parts: Buffer[] = [];
    for (let at = 0; at < total; at += parts.at(-1)?.length ?? 0) parts.push(await scene.read(at));
    assert.ok(Buffer.concat(parts).equals(pattern(0, total)));
    assert.equal((await scene.read(total)).length, 0);
    assert.ok(parts.length <= Math.ceil(total / (256 * KB)), 'few reads');
    scene.body.dispose(recycleRoom);
    assert.equal(roomsInUse(), rooms);
  }
});

test('a body that ends while it is written or read gives everything back', async (t) => {
  const rooms = roomsInUse();
  const writing = new Scene(t, MB);
  writing.append(5 * MB, 64 * KB);
  writing.body.dispose(recycleRoom);
  await eventually(5000, 'memory is back', () => roomsInUse() === rooms && writing.memory.left === MB);
  await eventually(5000, 'no file is left', () => readdirSync(writing.directory).length === 0);
  assert.equal(writing.stored, false);
  const reading = new Scene(t, 0);
  reading.append(MB, 64 * KB);
  reading.finish();
  await eventually(5000, 'it is stored', () => reading.stored);
  reading.body.read(0, () => assert.fail('nobody is told any more'));
  reading.body.dispose(recycleRoom);
  await eventually(5000, 'memory is back', () => roomsInUse() === rooms);
});

test('a sender of single bytes costs memory by the byte', (t) => {
  const scene = new Scene(t, 0);
  const rooms = roomsInUse();
  for (let at = 0; at < 8000; at += 1) scene.body.append(pattern(at, 1));
  assert.equal(roomsInUse(), rooms);
  for (let at = 8000; at < 60_000; at += 1) scene.body.append(pattern(at, 1));
  assert.equal(roomsInUse(), rooms + 1);
  scene.finish();
  assert.ok((scene.body.memory?.length ?? 99) < 20, 'few pieces');
  assert.ok(inMemory(scene.body).equals(pattern(0, 60_000)));
  scene.body.dispose(recycleRoom);
});

test('memory for bodies is a part of the machine, shared by the gateways, and at most 32 MB', () => {
  assert.equal(bodyMemoryShare(1024 * MB, 1), 16 * MB);
  assert.equal(bodyMemoryShare(64 * 1024 * MB, 1), 32 * MB);
  assert.equal(bodyMemoryShare(64 * 1024 * MB, 8), 4 * MB);
});

test('rooms that nobody used between two looks are given back to the system, once, and the last ones stay warm', () => {
  const rooms = Array.from({ length: 40 }, takeRoom);
  for (const room of rooms) recycleRoom(room);
  const look = (): Buffer[] => {
    const given: Buffer[] = [];
    coolRooms((bytes) => given.push(bytes));
    return given;
  };
  look();
  const unused = look();
  assert.ok(unused.length >= 40 - 16);
  const last = rooms.slice(-16).map(({ bytes }) => bytes);
  assert.ok(!unused.some((bytes) => last.includes(bytes as (typeof last)[number])));
  assert.equal(look().length, 0, 'not again');
  for (const room of Array.from({ length: 40 }, takeRoom)) recycleRoom(room);
  assert.equal(look().length, 0, 'just used');
  assert.equal(look().length, 40 - 16);
});

test('a room that a socket may still read is not used again before the socket has taken it', () => {
  const held = new HeldRooms();
  const rooms = roomsInUse();
  held.hold(takeRoom());
  held.settle(1);
  assert.equal(roomsInUse(), rooms + 1);
  held.settle(0);
  assert.equal(roomsInUse(), rooms);
  assert.equal(held.any, false);
});
