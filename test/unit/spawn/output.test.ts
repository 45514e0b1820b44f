/** Lines of apps in the log: bounded, counted, harmless. */
import assert from 'node:assert';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { LastLines, LineSplitter, MAX_LINE_BYTES, OutputPump } from '../../../core/spawn/output.js';
import { FakeClock } from '../../support/fake-clock.js';

function split(...pieces: (string | Buffer)[]): string[] {
  const lines: string[] = [];
  const splitter = new LineSplitter({
    wanted: () => Infinity,
    onLine: (line) => void lines.push(line),
    onSkipped: () => undefined,
  });
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

test('a line is never cut within a character', () => {
  const euros = '€'.repeat(30_000);
  const [cut = ''] = split(`${euros}\n`);
  assert.match(cut, /^€+ … \(\d+ bytes more\)$/);
  const kept = cut.lastIndexOf('€') + 1;
  assert.strictEqual(kept * 3 + Number(/\((\d+)/.exec(cut)?.[1]), 90_000);
});

test('the last lines are bounded in number and in size', () => {
  const last = new LastLines();
  for (let n = 1; n <= 200; n += 1) last.add(`line ${n}`);
  assert.strictEqual(last.text().split('\n').length, LastLines.LINES);
  assert.ok(last.text().endsWith('line 200'));
  for (let n = 0; n < 10; n += 1) last.add('x'.repeat(5000));
  assert.ok(last.text().length <= LastLines.CHARACTERS);
  last.add('y'.repeat(60_000));
  assert.match(last.text(), /y{2000} …$/);
});

test('of a piece with more lines than are wanted the first and the last ones are looked at, the rest is counted', () => {
  const lines: string[] = [];
  let skipped = 0;
  let wanted = 2000;
  const splitter = new LineSplitter({
    wanted: () => wanted,
    onLine: (line) => void lines.push(line),
    onSkipped: (count) => (skipped += count),
  });
  splitter.push(Buffer.from(`${'x\n'.repeat(30_000)}why it died\nrest`));
  assert.deepStrictEqual([lines.length, skipped], [2050, 27_951]);
  wanted = 0;
  splitter.push(Buffer.from(` of it\n${'x\n'.repeat(100)}`));
  assert.deepStrictEqual(lines.slice(2049, 2052), ['why it died', 'rest of it', 'x']);
  assert.deepStrictEqual([lines.length, skipped], [2101, 28_001]);
});

function pumpOf(stream: PassThrough): { pump: OutputPump; lines: string[]; clock: FakeClock } {
  const lines: string[] = [];
  const clock = new FakeClock();
  const share = { pauseAfter: (bytes: number) => (bytes > 1000 ? 1000 : 0) };
  const listener = {
    wanted: () => Infinity,
    onLine: (line: string) => void lines.push(line),
    onSkipped: () => undefined,
  };
  return { pump: new OutputPump(stream, share, clock, listener), lines, clock };
}

test('when the process has ended, what is left in its pipe is read at once', async () => {
  const stream = new PassThrough();
  const { pump, lines } = pumpOf(stream);
  stream.write(Buffer.alloc(3000, 120));
  await new Promise(setImmediate);
  stream.write('\nlast words\n');
  await new Promise(setImmediate);
  assert.ok(stream.isPaused());
  pump.hurry();
  await new Promise(setImmediate);
  assert.strictEqual(lines.at(-1), 'last words');
  stream.destroy();
});

test('a paused stream goes on by itself and loses nothing of what it still reads', async () => {
  const stream = new PassThrough();
  const { pump, lines, clock } = pumpOf(stream);
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
