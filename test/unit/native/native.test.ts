/** The addon through its typed face: what the system does, not what the supervisor makes of it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import {
  discardPages,
  closeFd,
  findGroup,
  findGroupList,
  findUser,
  listenUnix,
  lookupGid,
  lookupUid,
  lookupUser,
  peekExit,
  peerCredentials,
  pipe,
  reap,
  receiveRecords,
  sendBytes,
  widenSendBuffer,
  sendRecord,
  signalGroup,
  signalProcess,
  socketPair,
  spawnProcess,
  statBeneath,
  type NativeSpawnPlan,
} from '../../../core/native.js';
import { eventually } from '../../support/eventually.js';

const PLAN: NativeSpawnPlan = {
  file: '/bin/sh',
  argv: ['sh', '-c', 'exit 7'],
  env: ['PATH=/usr/bin:/bin'],
  cwd: '/',
  identity: undefined,
  umask: 0o022,
  fds: [0, 1, 2],
  listenPid: false,
  deathSignal: 9,
  oomScoreAdj: undefined,
  mustRead: '',
};

const errnoOf = (run: () => unknown): number => {
  try {
    run();
  } catch (error) {
    if (error instanceof Error && 'errno' in error) return Number(error.errno);
  }
  return 0;
};

test('bytes go out as far as the socket takes them, without waiting, a signal or an exception', () => {
  const [left, right] = socketPair('stream');
  const bytes = Buffer.from('..hello..');
  assert.strictEqual(sendBytes(left, bytes, 2, 7), 5);
  const seen = Buffer.alloc(16);
  assert.strictEqual(fs.readSync(right, seen), 5);
  assert.strictEqual(seen.toString('latin1', 0, 5), 'hello');
  const large = Buffer.alloc(1 << 20);
  const taken = sendBytes(left, large, 0, large.length);
  assert.ok(taken > 0 && taken < large.length, 'a part goes out');
  assert.strictEqual(sendBytes(left, large, 0, large.length), -os.constants.errno.EAGAIN);
  for (const [start, end] of [
    [0, large.length + 1],
    [2, 1],
    [-1, 1],
  ] as const) {
    assert.strictEqual(sendBytes(left, large, start, end), -os.constants.errno.EINVAL);
  }
  closeFd(right);
  assert.strictEqual(sendBytes(left, bytes, 0, 1), -os.constants.errno.EPIPE);
  closeFd(left);
  assert.strictEqual(sendBytes(left, bytes, 0, 1), -os.constants.errno.EBADF);
});

test('a widened socket takes more at once than one that is not', () => {
  const [left, right] = socketPair('stream');
  const large = Buffer.alloc(1 << 20);
  widenSendBuffer(left);
  const taken = sendBytes(left, large, 0, large.length);
  assert.ok(taken > sendBytes(right, large, 0, large.length), String(taken));
  closeFd(left);
  closeFd(right);
  widenSendBuffer(left);
});

test('records arrive whole, in order, with their descriptors, then the end', async () => {
  const [left, right] = socketPair('seqpacket');
  const texts: string[] = [];
  let fds = 0;
  let end: number | undefined;
  receiveRecords(
    right,
    1024,
    (bytes, taken) => {
      texts.push(bytes.toString());
      fds += taken.length;
      taken.forEach(closeFd);
    },
    (errno) => (end = errno),
  );
  for (let n = 0; n < 200; n += 1) {
    await eventually(2000, 'room', () =>
      sendRecord(left, Buffer.from(`record ${n}`), n % 10 === 0 ? [0, 1] : []),
    );
  }
  closeFd(left);
  await eventually(2000, 'end', () => end !== undefined);
  assert.equal(end, 0);
  assert.deepEqual(
    texts,
    Array.from({ length: 200 }, (_, n) => `record ${n}`),
  );
  assert.equal(fds, 40);
  closeFd(right);
});

test('a closed receiver says nothing more and lets go of its descriptor', async () => {
  const [left, right] = socketPair('seqpacket');
  let calls = 0;
  const receiver = receiveRecords(
    right,
    1024,
    () => (calls += 1),
    () => (calls += 1),
  );
  receiver.close();
  closeFd(right);
  await eventually(2000, 'the peer notices', () => errnoOf(() => sendRecord(left, Buffer.from('x'))) === 32);
  closeFd(left);
  assert.equal(calls, 0);
});

test('a full socket is told from a dead one', () => {
  const [left, right] = socketPair('seqpacket');
  let sent = 0;
  while (sendRecord(left, Buffer.alloc(1024))) sent += 1;
  assert.ok(sent > 10);
  closeFd(right);
  // EPIPE, or ECONNRESET the first time when the peer left something unread.
  assert.ok([32, 104].includes(errnoOf(() => sendRecord(left, Buffer.alloc(1)))));
  closeFd(left);
});

test('a child is a zombie until it is reaped, and only our own are ever waited for', async () => {
  let done = false;
  const { pid, pidfd } = spawnProcess(PLAN, (failure) => {
    assert.equal(failure, undefined);
    done = true;
  });
  await eventually(2000, 'exec', () => done);
  await eventually(2000, 'exit', () => peekExit(pid));
  assert.equal(peekExit(pid), true);
  assert.deepEqual(reap(pid), { code: 7 });
  assert.equal(
    errnoOf(() => peekExit(pid)),
    10,
  );
  assert.equal(
    errnoOf(() => signalProcess(pidfd, 15)),
    3,
  );
  closeFd(pidfd);
  assert.equal(
    errnoOf(() => peekExit(process.ppid)),
    10,
  );
  assert.equal(
    errnoOf(() => signalGroup(0, 15)),
    22,
  );
  assert.equal(
    errnoOf(() => signalGroup(1, 15)),
    22,
  );
});

test('the word of a child comes from a thread, never within the call', async (t) => {
  let order = '';
  const { pid, pidfd } = spawnProcess(PLAN, () => (order += 'callback'));
  t.after(() => closeFd(pidfd));
  order += 'turn ';
  await eventually(2000, 'callback', () => order.includes('callback'));
  assert.equal(order, 'turn callback');
  await eventually(2000, 'exit', () => peekExit(pid));
  reap(pid);
});

test('a callback that throws reaches the top of the process', async (t) => {
  const before = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  let caught: unknown;
  process.once('uncaughtException', (error) => (caught = error));
  t.after(() => before.forEach((listener) => process.on('uncaughtException', listener)));
  statBeneath('/', 'etc', 'refused', () => {
    throw new Error('from a callback');
  });
  await eventually(2000, 'exception', () => caught !== undefined);
  assert.match(String(caught), /from a callback/);
});

test('accounts are found by name and number, now or on a thread', async () => {
  assert.equal(lookupUser('root')?.uid, 0);
  assert.equal(lookupUid(0)?.name, 'root');
  assert.equal(lookupGid(0)?.name, 'root');
  assert.equal(lookupUser('no such user'), undefined);
  assert.equal((await findUser('root'))?.home, '/root');
  assert.equal(await findUser(4_000_000_000), undefined);
  assert.equal(await findGroup('no such group'), undefined);
  assert.deepEqual(await findGroupList('root', 0), [0]);
});

test('a listening socket has its mode from the start and knows its peers', () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'psg-native-'));
  const file = path.join(directory, 's');
  const options = { backlog: 1, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, mode: 0o600 };
  closeFd(listenUnix(file, options));
  assert.equal(fs.lstatSync(file).mode & 0o7777, 0o600);
  assert.equal(
    errnoOf(() => listenUnix(file, options)),
    98,
  );
  const [left, right] = socketPair('stream');
  assert.deepEqual(peerCredentials(left), { pid: process.pid, uid: options.uid, gid: options.gid });
  [left, right, ...pipe()].forEach(closeFd);
  fs.rmSync(directory, { recursive: true });
});

test('pages that are given back read as zeros, and what shares a page with others stays', () => {
  const all = Buffer.allocUnsafeSlow(1_048_576).fill('x');
  discardPages(all.subarray(1, 600_001));
  assert.equal(all[0], 0x78);
  assert.equal(all[300_000], 0);
  assert.ok(all.subarray(600_001).every((byte) => byte === 0x78));
  discardPages(Buffer.alloc(0));
  discardPages(Buffer.allocUnsafeSlow(10));
});

test('a child may have as many descriptors as asked for, and never fewer than before', async () => {
  const limits = async (openFiles: number | undefined): Promise<string> => {
    const [ours, theirs] = pipe();
    const plan: NativeSpawnPlan = {
      ...PLAN,
      argv: ['sh', '-c', 'ulimit -Sn; ulimit -Hn'],
      fds: [0, theirs, 2],
      ...(openFiles === undefined ? {} : { openFiles }),
    };
    const { pid, pidfd } = spawnProcess(plan, () => undefined);
    closeFd(theirs);
    await eventually(2000, 'it has ended', () => peekExit(pid));
    reap(pid);
    closeFd(pidfd);
    const bytes = Buffer.alloc(100);
    const text = bytes.toString('latin1', 0, fs.readSync(ours, bytes));
    closeFd(ours);
    return text;
  };
  const [, hard = ''] = (await limits(undefined)).split('\n');
  assert.equal(await limits(1), `${hard}\n${hard}\n`, 'the soft one rises to the hard one');
  const more = Number(hard) + 100;
  const may = spawnSync('prlimit', [`--nofile=${more}:${more}`, 'true']).status === 0;
  assert.equal(await limits(more), may ? `${more}\n${more}\n` : `${hard}\n${hard}\n`);
  await limits(4_000_000_000);
});
