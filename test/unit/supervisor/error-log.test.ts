/** The server's log: what is dropped when it takes nothing, what is told of it, and what a process that ends leaves. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { buildSync } from 'esbuild';
import { test } from 'node:test';
import { closeFd, pipe, type LogWriter, type LogWriterLine } from '../../../core/native.js';
import { heardWords, lastWords } from '../../../core/supervisor/last-words.js';
import { WAITING } from '../../../core/supervisor/log-bound.js';
import { ErrorLog } from '../../../core/supervisor/logs.js';
import { FakeClock } from '../../support/fake-clock.js';
import { patience } from '../../support/patience.js';

/** A log whose reader the test lets run. */
class FakeWriter implements LogWriter {
  readonly queue: LogWriterLine[] = [];
  stopped = false;

  constructor(
    readonly fd: number,
    readonly out: string[],
  ) {}

  push(priority: number, text: string): void {
    this.queue.push({ priority, text });
  }

  waiting(): number {
    return this.queue.reduce((sum, { text }) => sum + text.length, 0);
  }

  flush(): boolean {
    return this.queue.length === 0;
  }

  stop(): LogWriterLine[] {
    this.stopped = true;
    return this.queue.splice(0);
  }

  take(lines = Infinity): void {
    for (const { text } of this.queue.splice(0, lines)) this.out.push(text);
  }
}

class Scene {
  readonly out: string[] = [];
  readonly writers: FakeWriter[] = [];
  readonly clock = new FakeClock();
  readonly log = new ErrorLog('core', (fd) => this.#open(fd), this.clock);

  get writer(): FakeWriter {
    const last = this.writers.at(-1);
    assert.ok(last !== undefined);
    return last;
  }

  #open(fd: number): FakeWriter {
    const writer = new FakeWriter(fd, this.out);
    this.writers.push(writer);
    return writer;
  }
}

const KILOBYTE = 'x'.repeat(1023);

test('lines have the shape of Apache’s own; finished ones go out as they are', () => {
  const { log, writer, out } = new Scene();
  log.write('warn', 'pool', 'a sentence');
  log.writeLine('a line of an app');
  writer.take();
  assert.match(
    out[0] ?? '',
    /^\[\w{3} \w{3} \d\d [\d:.]+ \d{4}\] \[passenger_pool:warn\] \[pid \d+\] a sentence\n$/,
  );
  assert.equal(out[1], 'a line of an app\n');
});

test('what may wait is bounded, and the number of dropped lines stands where they would have stood', () => {
  const { log, writer, out } = new Scene();
  for (let n = 0; n < 1000; n += 1) log.writeLine(`${KILOBYTE} ${n}`);
  assert.ok(writer.waiting() < WAITING.ordinary + 2048);
  const kept = writer.queue.length;
  // As long as it is nearly full nothing ordinary is taken: one gap, not many.
  writer.take(10);
  log.writeLine('still too much');
  writer.take(kept);
  log.writeLine('behind the gap');
  writer.take();
  assert.match(out[kept - 1] ?? '', new RegExp(` ${kept - 1}\n$`));
  assert.match(
    out[kept] ?? '',
    new RegExp(`passenger_core:warn\\] .*PSG0002 .* lines=${1000 - kept + 1}\n$`),
  );
  assert.equal(out[kept + 1], 'behind the gap\n');
  assert.equal(out.length, kept + 2);
});

test('a flood of ordinary lines leaves room for errors', () => {
  const { log, writer } = new Scene();
  for (let n = 0; n < 1000; n += 1) log.writeLine(KILOBYTE);
  log.write('error', 'core', 'a reason');
  assert.match(writer.queue.at(-1)?.text ?? '', /a reason/);
  for (let n = 0; n < 2000; n += 1) log.write('error', 'core', KILOBYTE);
  assert.ok(writer.waiting() < WAITING.grave + 2048);
});

test('a loss is told within a second of the recovery, also when no other line follows', () => {
  const { log, writer, clock } = new Scene();
  for (let n = 0; n < 1000; n += 1) log.writeLine(KILOBYTE);
  clock.advance(5000);
  writer.take();
  clock.advance(1000);
  assert.match(writer.queue[0]?.text ?? '', /PSG0002/);
  assert.equal(clock.pending, 0);
});

test('lines that an old log has not taken go to the new one, first', () => {
  const scene = new Scene();
  scene.log.writeLine('before');
  scene.log.redirect('syslog:local3:web', []);
  scene.log.write('warn', 'pool', 'after');
  const [old, now] = scene.writers;
  assert.deepEqual([old?.stopped, old?.fd, now?.fd], [true, 2, -1]);
  assert.deepEqual(now?.queue, [
    { priority: 5, text: 'before\n' },
    { priority: 19 * 8 + 4, text: `web[${process.pid}]: [passenger_pool:warn] after` },
  ]);
  scene.log.redirect('fd', []);
  assert.ok(scene.writer.queue.every(({ text }) => text.endsWith('\n')));
});

test('a process that ends tells its losses and gives back what did not get out', () => {
  const { log, writer } = new Scene();
  for (let n = 0; n < 1000; n += 1) log.writeLine(KILOBYTE);
  const lines = writer.queue.length;
  const rest = log.finish(10);
  assert.equal(rest.length, lines + 1);
  assert.match(rest.at(-1)?.text ?? '', /PSG0002/);
  assert.deepEqual(log.finish(10), []);
});

test('last words are the latest errors and warnings that fit, and the number of the others', () => {
  const line = (priority: number, text: string): LogWriterLine => ({ priority, text: `${text}\n` });
  const big = Array.from({ length: 60 }, (_, n) => line(3, `${n} ${KILOBYTE}`));
  const { lines, lost } = lastWords([
    line(3, 'old'),
    ...big,
    line(5, 'ordinary'),
    line(8 * 16 + 4, 'warning'),
  ]);
  assert.equal(lines.at(-1), 'warning');
  assert.match(lines.at(-2) ?? '', /^59 x/);
  assert.ok(lines.length > 40 && lines.length < 50);
  assert.equal(lines.length + lost, 63);
  assert.deepEqual(heardWords(['a\nb\x1b[31m']), ['a?b?[31m']);
});

const ENTRY = (core: string, code: string): string => `
import fs from 'node:fs';
import { crash } from '${core}/base/crash.js';
import { Log, LogThreshold } from '${core}/base/log.js';
import { ErrorLog } from '${core}/supervisor/logs.js';
const log = new ErrorLog('core');
process.on('exit', () => fs.writeSync(1, JSON.stringify(log.finish(300))));
${code}`;

/** Writes to a pipe until it takes no more. */
function fill(to: number): void {
  const fd = fs.openSync(`/proc/self/fd/${to}`, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK);
  try {
    for (;;) fs.writeSync(fd, Buffer.alloc(4096));
  } catch {
    // EAGAIN: it is full.
  } finally {
    fs.closeSync(fd);
  }
}

/** Runs `code` with an ErrorLog in a process whose descriptor 2 is a full pipe that nobody reads. */
async function withStuckLog(code: string): Promise<{ status: number | null; tookMs: number; out: string }> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'psg-log-'));
  const [from, to] = pipe();
  try {
    const core = path.join(__dirname, '../../../core');
    const entry = path.join(directory, 'entry.ts');
    const main = path.join(directory, 'dist', 'main.js');
    fs.writeFileSync(entry, ENTRY(core, code));
    buildSync({ entryPoints: [entry], outfile: main, bundle: true, platform: 'node', format: 'cjs' });
    fs.symlinkSync(path.join(core, '../native'), path.join(directory, 'native'));
    fill(to);
    const begun = performance.now();
    const child = spawn(process.execPath, [main], { stdio: ['ignore', 'pipe', to], timeout: 20_000 });
    let out = '';
    child.stdout?.on('data', (part: Buffer) => (out += part.toString()));
    const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { status, tookMs: performance.now() - begun, out };
  } finally {
    [from, to].forEach(closeFd);
    fs.rmSync(directory, { recursive: true });
  }
}

test('a process whose log hangs crashes nearly as fast as others, and its last words are known', async () => {
  const { status, tookMs, out } = await withStuckLog(`
    const words = new Log('core', log, new LogThreshold());
    process.on('uncaughtException', (error) => crash(words, error));
    for (let n = 0; n < 500; n += 1) log.writeLine('x'.repeat(1000));
    throw new Error('the reason');`);
  assert.equal(status, 70, out.slice(0, 200));
  assert.match(out, /PSG0001 internal error stack=.*the reason/);
  assert.ok(tookMs < patience(3000), `${tookMs} ms`);
});
