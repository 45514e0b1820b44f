/** Lines of apps in the log: bounded, counted, harmless. */
import assert from 'node:assert';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { Log, LogThreshold } from '../../../core/base/log.js';
import {
  LastLines,
  LineSplitter,
  MAX_LINE_BYTES,
  OutputLog,
  OutputPump,
} from '../../../core/spawn/output.js';
import { FakeClock } from '../../support/fake-clock.js';

function split(...pieces: (string | Buffer)[]): string[] {
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => lines.push(line));
  for (const piece of pieces) splitter.push(Buffer.from(piece));
  splitter.end();
  return lines;
}

test('lines are put together from pieces, wherever they were cut', () => {
  assert.deepStrictEqual(split('one\ntw', 'o\r\n', '\nrest'), ['one', 'two', '', 'rest']);
  const euro = Buffer.from('€\n');
  assert.deepStrictEqual(split(euro.subarray(0, 1), euro.subarray(1, 2), euro.subarray(2)), ['€']);
});

test('bytes that are no UTF-8 become replacement characters', () => {
  assert.deepStrictEqual(split(Buffer.from([0x61, 0xff, 0xfe, 0x62, 0x0a])), ['a\ufffd\ufffdb']);
});

test('control characters are written out, so that no line steers a terminal or imitates another', () => {
  assert.deepStrictEqual(split('\u001b[2Jx\ty\rz\u009b\n'), ['\\x1b[2Jx\ty\\x0dz\\x9b']);
});

test('a long line is cut and says how much is missing, and the next line is whole', () => {
  const [cut, next] = split('x'.repeat(MAX_LINE_BYTES), 'y'.repeat(100_000), '\nnext\n');
  assert.strictEqual(cut, `${'x'.repeat(MAX_LINE_BYTES)} … (100000 bytes more)`);
  assert.strictEqual(next, 'next');
});

test('the last lines are bounded in number and in size', () => {
  const last = new LastLines();
  for (let n = 1; n <= 200; n += 1) last.add(`line ${n}`);
  assert.strictEqual(last.text().split('\n').length, LastLines.LINES);
  assert.ok(last.text().endsWith('line 200'));
  for (let n = 0; n < 10; n += 1) last.add('x'.repeat(5000));
  assert.ok(last.text().length <= LastLines.CHARACTERS);
});

interface Scene {
  readonly clock: FakeClock;
  readonly output: OutputLog;
  readonly written: string[];
  prefixed: boolean;
}

function scene(): Scene {
  const written: string[] = [];
  const sink = {
    write: (_level: string, room: string, text: string) => void written.push(`[${room}] ${text}`),
    writeLine: (line: string) => void written.push(line),
  };
  const clock = new FakeClock();
  const state = { clock, written, prefixed: true };
  const log = new Log('spawn', sink, new LogThreshold());
  return Object.assign(state, { output: new OutputLog('shop', sink, log, clock, () => state.prefixed) });
}

test('each line names process and stream, unless the prefix is off', () => {
  const { output, written, ...rest } = scene();
  output.write(7, 'stdout', 'hello');
  output.write(7, 'stderr', 'oh');
  assert.deepStrictEqual(written, ['[app] App 7 stdout: hello', '[app] App 7 stderr: oh']);
  assert.ok(rest.prefixed);
});

test('without the prefix a line is written as it came, also after a reload', () => {
  const stage = scene();
  stage.output.write(7, 'stdout', 'before');
  stage.prefixed = false;
  stage.output.write(7, 'stdout', '{"json":1}');
  assert.deepStrictEqual(stage.written, ['[app] App 7 stdout: before', '{"json":1}']);
});

test('too many lines in a second are dropped and counted, the next second starts anew', () => {
  const { output, written, clock } = scene();
  for (let n = 0; n < 5000; n += 1) output.write(7, 'stdout', `line ${n}`);
  assert.strictEqual(written.length, 1000);
  clock.advance(1000);
  output.write(7, 'stdout', 'again');
  assert.match(written[1000] ?? '', /PSG6010 .* app=shop lines=4000$/);
  assert.strictEqual(written[1001], '[app] App 7 stdout: again');
});

test('what was dropped is reported at the end of a process as well, once', () => {
  const { output, written } = scene();
  for (let n = 0; n < 1001; n += 1) output.write(7, 'stdout', 'x');
  output.reportDropped();
  output.reportDropped();
  assert.strictEqual(written.filter((line) => line.includes('PSG6010')).length, 1);
});

test('a piece of many tiny lines costs little: the first thousand count, the last line is whole', () => {
  const lines: string[] = [];
  let skipped = 0;
  const splitter = new LineSplitter(
    (line) => lines.push(line),
    (count) => (skipped += count),
  );
  splitter.push(Buffer.from(`${'x\n'.repeat(30_000)}rest`));
  splitter.push(Buffer.from(' of it\n'));
  assert.deepStrictEqual([lines.length, skipped, lines.at(-1)], [1001, 29_000, 'rest of it']);
});

test('a group that floods is read no further until the next second', () => {
  const { output, clock } = scene();
  clock.advance(1000);
  assert.strictEqual(output.pauseAfter(2 * 1024 * 1024), 0);
  clock.advance(400);
  assert.strictEqual(output.pauseAfter(1), 600);
  clock.advance(600);
  assert.strictEqual(output.pauseAfter(64 * 1024), 0);
});

test('a paused stream goes on by itself and loses nothing of what it still reads', async () => {
  const { output, clock } = scene();
  const stream = new PassThrough();
  const lines: string[] = [];
  const pump = new OutputPump(stream, output, clock, (line) => lines.push(line));
  stream.write(Buffer.alloc(3 * 1024 * 1024, 120));
  await new Promise(setImmediate);
  stream.write('\nafter the flood\n');
  await new Promise(setImmediate);
  assert.ok(stream.isPaused());
  clock.advance(1000);
  stream.end();
  stream.once('end', () => stream.destroy());
  await pump.ended;
  assert.strictEqual(lines.at(-1), 'after the flood');
});

test('lines do not depend on how the bytes were cut', () => {
  const text = Array.from({ length: 300 }, (_, n) => 'zeile ä€😀 '.repeat(n % 7) + String(n)).join('\n');
  const bytes = Buffer.from(text);
  let seed = 1;
  for (let round = 0; round < 50; round += 1) {
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length;) {
      seed = (seed * 48271) % 2147483647;
      const length = 1 + (seed % 97);
      pieces.push(bytes.subarray(at, at + length));
      at += length;
    }
    assert.deepStrictEqual(split(...pieces), text.split('\n'));
  }
});
