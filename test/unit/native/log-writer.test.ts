/** The thread that writes log lines: a log that takes nothing holds up nobody, and no line loses its place. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { closeFd, pipe, startLogWriter } from '../../../core/native.js';
import { eventually } from '../../support/eventually.js';

const ZERO_TIME_MS = 50;

function pipeFor(t: TestContext): { from: number; to: number } {
  const [from, to] = pipe();
  t.after(() => [from, to].forEach(closeFd));
  return { from, to };
}

/** Reads until `bytes` have come. */
async function read(fd: number, bytes: number): Promise<string> {
  const parts: Buffer[] = [];
  for (let length = 0; length < bytes;) {
    const part = Buffer.alloc(65_536);
    const got = await new Promise<number>((resolve, reject) =>
      fs.read(fd, part, 0, part.length, null, (error, count) =>
        error === null ? resolve(count) : reject(error),
      ),
    );
    parts.push(part.subarray(0, got));
    length += got;
  }
  return Buffer.concat(parts).toString();
}

test('lines come out whole and in their order, also long ones, and after a reader that stood still', async (t) => {
  const { from, to } = pipeFor(t);
  const writer = startLogWriter(to);
  const lines = Array.from({ length: 4000 }, (_, n) => `${'é'.repeat(n % 900 === 0 ? 6000 : 20)} ${n}\n`);
  const begun = performance.now();
  for (const line of lines) writer.push(0, line);
  assert.ok(performance.now() - begun < 1000, 'pushing does not wait');
  assert.ok(writer.waiting() > 64 * 1024);
  assert.equal(writer.flush(20), false);
  const whole = lines.join('');
  assert.ok((await read(from, Buffer.byteLength(whole))) === whole);
  assert.equal(writer.flush(5000), true);
  assert.equal(writer.waiting(), 0);
  assert.deepEqual(writer.stop(), []);
});

test('a writer that is stopped gives back what is not on its way, and closes its descriptor', async (t) => {
  const { from, to } = pipeFor(t);
  const writer = startLogWriter(to);
  const line = `${'x'.repeat(4095)}\n`;
  for (let n = 0; n < 40; n += 1) writer.push(5, line);
  writer.flush(ZERO_TIME_MS);
  const rest = writer.stop();
  assert.ok(rest.length > 0);
  assert.deepEqual(rest[0], { priority: 5, text: line });
  const inPipe = (40 - rest.length) * 4096;
  assert.equal((await read(from, inPipe)).length, inPipe);
  const open = (): number => {
    const name = fs.readlinkSync(`/proc/self/fd/${to}`);
    return fs.readdirSync('/proc/self/fd').filter((fd) => linkOf(fd) === name).length;
  };
  await eventually(2000, 'only the ends of the test are open', () => open() === 2);
});

function linkOf(fd: string): string {
  try {
    return fs.readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}

test('on a full disk lines wait, and are whole when there is room', (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'psg-log-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const full = fs.openSync('/dev/full', 'w');
  const stuck = startLogWriter(full);
  stuck.push(0, 'one\n');
  stuck.push(0, 'two\n');
  assert.equal(stuck.flush(5000), false, 'a failure ends the wait');
  const rest = stuck.stop();
  fs.closeSync(full);
  assert.deepEqual(
    rest.map(({ text }) => text),
    ['one\n', 'two\n'],
  );
  const file = path.join(directory, 'log');
  const fd = fs.openSync(file, 'a');
  const writer = startLogWriter(fd);
  fs.closeSync(fd);
  for (const { priority, text } of rest) writer.push(priority, text);
  assert.equal(writer.flush(5000), true);
  assert.equal(fs.readFileSync(file, 'utf8'), 'one\ntwo\n');
  writer.stop();
});

test('a descriptor that is closed is refused', () => {
  assert.throws(() => startLogWriter(9999), /Bad file descriptor/);
});
