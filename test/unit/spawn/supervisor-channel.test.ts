/** The core's side of the channel, over real sockets and the supervisor's own transport. */
import assert from 'node:assert';
import { closeSync, fstatSync, readSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { systemClock } from '../../../core/base/clock.js';
import { pipe, socketPair } from '../../../core/native.js';
import { SupervisorChannel, type CoreChannelHandlers } from '../../../core/spawn/supervisor-channel.js';
import { SupervisorFiles } from '../../../core/spawn/supervisor-files.js';
import { Channel } from '../../../core/supervisor/channel.js';
import {
  decodeBytes,
  FROM_CORE,
  TO_CORE,
  type FromCore,
  type ToCore,
} from '../../../core/supervisor/messages.js';
import type { AdoptedProcess as PoolAdopted } from '../../../core/pool/pool.js';
import type { FileQuestions } from '../../../core/pool/restart-watch.js';
import { FdSink } from '../../../core/base/fd-sink.js';
import type { OutputSink } from '../../../core/spawn/output-log.js';
import type { AdoptedProcess as SpawnerAdopted } from '../../../core/spawn/supervisor-spawner.js';
import { eventually } from '../../support/eventually.js';
import { FakeClock } from '../../support/fake-clock.js';

interface Scene {
  readonly peer: Channel<FromCore['type'], ToCore['type']>;
  readonly heard: unknown[][];
}

function scene(t: TestContext): Scene {
  const [coreEnd, supervisorEnd] = socketPair('seqpacket');
  const heard: unknown[][] = [];
  const tell =
    (name: string) =>
    (...values: unknown[]): void =>
      void heard.push([name, ...values]);
  const handlers: CoreChannelHandlers = {
    onConfig: tell('config'),
    onAdopt: tell('adopt'),
    onStart: tell('start'),
    onProcess: tell('process'),
    onStat: tell('stat'),
    onOpened: tell('opened'),
    onLog: tell('log'),
    onMemory: tell('memory'),
    onStop: tell('stop'),
    onEnd: tell('end'),
  };
  const clock = new FakeClock();
  const channel = new SupervisorChannel(
    (h) => new Channel(coreEnd, TO_CORE, h, systemClock),
    handlers,
    clock,
  );
  const peer = new Channel<FromCore['type'], ToCore['type']>(supervisorEnd, FROM_CORE, {
    onMessage: () => undefined,
    onEnd: () => undefined,
  });
  t.after(() => {
    channel.close();
    peer.close();
  });
  return { peer, heard };
}

const heardOf = (heard: unknown[][], count: number): Promise<unknown> =>
  eventually(5000, `${count} calls`, () => heard.length >= count);

test('each message goes to the part of the core that it concerns, with its descriptors', async (t) => {
  const { peer, heard } = scene(t);
  const [read, write] = pipe();
  peer.send({ type: 'SPAWNED', spawnId: 1, pid: 42 }, [read, write, read]);
  peer.send({ type: 'EXITED', pid: 42, code: 0, signal: undefined });
  peer.send({ type: 'START' });
  peer.send({ type: 'CORE_STOP', deadlineMs: 500 });
  await heardOf(heard, 4);
  assert.deepStrictEqual(
    heard.map(([name]) => name),
    ['process', 'process', 'start', 'stop'],
  );
  assert.strictEqual(heard[3]?.[1], 500);
  const fds = heard[0]?.[2] as number[];
  assert.strictEqual(fds.length, 3);
  for (const fd of fds) assert.ok(fstatSync(fd).isFIFO());
  for (const fd of [...fds, read, write]) closeSync(fd);
});

test('descriptors with a message that should have none are closed', async (t) => {
  const { peer, heard } = scene(t);
  const [read, write] = pipe();
  peer.send({ type: 'START' }, [write], () => closeSync(write));
  await heardOf(heard, 1);
  // With every writing end closed the pipe is at its end.
  assert.strictEqual(readSync(read, Buffer.alloc(1)), 0);
  closeSync(read);
});

test('a heartbeat goes out each second, until the supervisor is gone', async () => {
  const [coreEnd, supervisorEnd] = socketPair('seqpacket');
  const clock = new FakeClock();
  let ended = false;
  const nothing = (): void => undefined;
  const handlers: CoreChannelHandlers = {
    onConfig: nothing,
    onAdopt: nothing,
    onStart: nothing,
    onProcess: nothing,
    onStat: nothing,
    onOpened: nothing,
    onLog: nothing,
    onMemory: nothing,
    onStop: nothing,
    onEnd: () => (ended = true),
  };
  const channel = new SupervisorChannel((h) => new Channel(coreEnd, TO_CORE, h), handlers, clock);
  channel.startHeartbeat();
  clock.advance(3000);
  const buffer = Buffer.alloc(1024);
  for (let beat = 0; beat < 4; beat += 1) {
    const length = readSync(supervisorEnd, buffer);
    assert.strictEqual(decodeBytes(buffer.subarray(0, length), FROM_CORE).type, 'HEARTBEAT');
  }
  closeSync(supervisorEnd);
  await eventually(5000, 'the end is noticed', () => ended);
  assert.strictEqual(clock.pending, 0);
});

const QUESTION = ['/srv/shop', 'restart.txt', 'tmp'] as const;

test('questions about files are matched with their answers', async () => {
  const asked: FromCore[] = [];
  const files = new SupervisorFiles({ send: (message) => void asked.push(message) }, new FakeClock());
  const [first, second] = [files.stat(...QUESTION), files.stat(...QUESTION)];
  const ids = asked.map((message) => (message.type === 'STAT' ? message.requestId : 0));
  const facts = { type: 'STAT_RESULT', mtimeNs: 5n, inode: 6n, errno: 0 } as const;
  files.handle({ ...facts, requestId: Number(ids[1]), exists: 0, errno: 2 });
  files.handle({ ...facts, requestId: Number(ids[0]), exists: 1 });
  files.handle({ ...facts, requestId: 999, exists: 1 });
  assert.deepStrictEqual(await first, { exists: true, mtimeNs: 5n, inode: 6n });
  assert.deepStrictEqual(await second, { exists: false, mtimeNs: 0n, inode: 0n });
});

test('a question without an answer ends, and too many open ones are refused', async () => {
  const clock = new FakeClock();
  const files = new SupervisorFiles({ send: () => undefined }, clock);
  const open = Array.from({ length: 1024 }, () => files.stat(...QUESTION));
  await assert.rejects(files.stat(...QUESTION), /too many/);
  clock.advance(10_000);
  await Promise.all(open.map((question) => assert.rejects(question, /no answer/)));
});

test('the parts fit where the composition root puts them', () => {
  const files = new SupervisorFiles({ send: () => undefined }, systemClock);
  const questions: FileQuestions = files;
  const adopted: (found: SpawnerAdopted) => PoolAdopted = (found) => found;
  const sink: OutputSink = new FdSink(2);
  assert.ok([questions, adopted, sink].every((part) => part !== undefined));
});
