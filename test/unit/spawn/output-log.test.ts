/** How many lines of an app reach a log, in which form, and what is kept of a flood. */
import assert from 'node:assert';
import { test } from 'node:test';
import { Log, LogThreshold } from '../../../core/base/log.js';
import { LogFile } from '../../../core/spawn/log-file.js';
import { KEPT_LINES, OutputLog, RATE } from '../../../core/spawn/output-log.js';
import { FakeClock } from '../../support/fake-clock.js';

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
  const options = { groupName: 'shop', sink, log, clock, prefixed: () => state.prefixed };
  return Object.assign(state, { output: new OutputLog(options) });
}

/** The same with a file of its own, whose text is the result. */
function sceneWithFile(): Scene & { readonly text: () => string } {
  const stage = scene();
  let text = '';
  stage.output.file = new LogFile({
    app: 'shop',
    file: 'log/app.log',
    open: () => Promise.resolve(7),
    system: {
      append: (_fd, bytes) => {
        text += bytes.toString();
        return Promise.resolve({ errno: 0, written: bytes.length });
      },
      pathOf: () => '/srv/shop/log/app.log',
      close: () => undefined,
    },
    clock: stage.clock,
    log: new Log('spawn', { write: () => undefined }, new LogThreshold()),
  });
  return Object.assign(stage, { text: () => text });
}

test('each line names process and stream, unless the prefix is off', () => {
  const { output, written } = scene();
  output.write(7, 'stdout', 'hello');
  output.write(7, 'stderr', 'oh');
  assert.deepStrictEqual(written, ['[app] App 7 stdout: hello', '[app] App 7 stderr: oh']);
});

test('without the prefix a line is written as it came, also after a reload', () => {
  const stage = scene();
  stage.output.write(7, 'stdout', 'before');
  stage.prefixed = false;
  stage.output.write(7, 'stdout', '{"json":1}');
  assert.deepStrictEqual(stage.written, ['[app] App 7 stdout: before', '{"json":1}']);
});

test('in its own file a line has its time before the prefix, and without the prefix nothing', async () => {
  const stage = sceneWithFile();
  stage.output.write(7, 'stdout', 'hello');
  stage.prefixed = false;
  stage.output.write(7, 'stdout', '{"json":1}');
  stage.output.remark('start failed\nbecause');
  await stage.output.file?.idle();
  const [first, second, third, fourth] = stage.text().split('\n');
  assert.match(first ?? '', /^\[\w{3} \w{3} \d\d [\d:.]+ \d{4}\] App 7 stdout: hello$/);
  assert.strictEqual(second, '{"json":1}');
  assert.match(third ?? '', /\] Passenger: start failed$/);
  assert.match(fourth ?? '', /\] Passenger: because$/);
  assert.deepStrictEqual(stage.written, []);
});

test('a burst at the start is written whole', () => {
  const { output, written } = scene();
  for (let n = 0; n < RATE.lineBurst; n += 1) output.write(7, 'stdout', `line ${n}`);
  assert.strictEqual(written.length, RATE.lineBurst);
  assert.strictEqual(written.at(-1), `[app] App 7 stdout: line ${RATE.lineBurst - 1}`);
});

test('of a flood the last lines follow, in order, behind one line with the number of those dropped', () => {
  const { output, written, clock } = scene();
  const all = RATE.lineBurst + 4000;
  for (let n = 0; n < all; n += 1) output.write(7, 'stdout', `line ${n}`);
  clock.advance(1000);
  const after = written.slice(RATE.lineBurst);
  assert.match(after[0] ?? '', new RegExp(`PSG6010 .* app=shop lines=${4000 - KEPT_LINES}$`));
  assert.strictEqual(after[1], `[app] App 7 stdout: line ${all - KEPT_LINES}`);
  assert.strictEqual(after.at(-1), `[app] App 7 stdout: line ${all - 1}`);
  assert.strictEqual(after.length, 1 + KEPT_LINES);
  output.write(7, 'stdout', 'again');
  assert.strictEqual(written.at(-1), '[app] App 7 stdout: again');
});

test('in the long run no more than the rate is written', () => {
  const { output, written, clock } = scene();
  for (let tenth = 0; tenth < 300; tenth += 1) {
    for (let n = 0; n < 1000; n += 1) output.write(7, 'stdout', 'x');
    clock.advance(100);
  }
  assert.ok(written.length < RATE.lineBurst + 31 * RATE.linesPerSecond, String(written.length));
  assert.ok(written.length > 30 * RATE.linesPerSecond, String(written.length));
});

test('bytes are limited as well as lines', () => {
  const { output, written } = scene();
  for (let n = 0; n < 200; n += 1) output.write(7, 'stdout', 'x'.repeat(60_000));
  assert.ok(written.length > 60 && written.length < 80, String(written.length));
});

test('the last lines before the end of a process are written whatever it wrote before', () => {
  const { output, written } = scene();
  for (let n = 0; n < RATE.lineBurst + 500; n += 1) output.write(7, 'stdout', 'flood');
  output.write(7, 'stderr', 'TypeError: x is not a function');
  output.processEnded(7);
  output.processEnded(7);
  assert.strictEqual(written.at(-1), '[app] App 7 stderr: TypeError: x is not a function');
  assert.strictEqual(written.filter((line) => line.includes('PSG6010')).length, 1);
});

test('a process that floods does not cost another one of its group its last lines', () => {
  const { output, written } = scene();
  for (let n = 0; n < RATE.lineBurst; n += 1) output.write(7, 'stdout', 'flood');
  output.write(8, 'stderr', 'why I die');
  for (let n = 0; n < 1000; n += 1) output.write(7, 'stdout', 'flood');
  output.processEnded(8);
  assert.strictEqual(written.at(-1), '[app] App 8 stderr: why I die');
});

test('lines that nobody looked at are counted in their place', () => {
  const { output, written, clock } = scene();
  output.skipped(7, 300);
  output.write(7, 'stdout', 'after');
  clock.advance(1000);
  assert.match(written[0] ?? '', /PSG6010 .* lines=300$/);
  assert.strictEqual(written[1], '[app] App 7 stdout: after');
});

test("an app with a file of its own finds the number there, and the server's log tells it now and then", async () => {
  const stage = sceneWithFile();
  for (let second = 0; second < 12; second += 1) {
    stage.output.skipped(7, 100);
    stage.clock.advance(1000);
  }
  stage.output.processEnded(7);
  await stage.output.file?.idle();
  assert.strictEqual(stage.text().match(/Passenger: 100 lines of process 7 dropped/g)?.length, 12);
  const told = stage.written.map((line) => Number(/PSG6010.* lines=(\d+)/.exec(line)?.[1]));
  assert.deepStrictEqual(told, [100, 1000, 100]);
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
