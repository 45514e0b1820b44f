/** The log file of an app: what is written where when the file is rotated, full, slow or not there. */
import assert from 'node:assert';
import { test } from 'node:test';
import { Log, LogThreshold } from '../../../core/base/log.js';
import { LogFile, type LogFileSystem } from '../../../core/spawn/log-file.js';
import { FakeClock } from '../../support/fake-clock.js';

const ENOSPC = 28;

/** One directory in memory; a descriptor is the index of a file. */
class Disk implements LogFileSystem {
  readonly files: { path: string; text: string; open: boolean }[] = [];
  /** Bytes that still fit; undefined: any number. */
  room: number | undefined;
  refusal = '';
  /** Writes wait until this is called. */
  hold: Promise<void> | undefined;

  open(path: string): Promise<number> {
    if (this.refusal !== '') return Promise.reject(new Error(this.refusal));
    const there = this.files.findIndex((file) => file.path === path);
    const known = this.files[there];
    if (known !== undefined) {
      known.open = true;
      return Promise.resolve(there);
    }
    this.files.push({ path, text: '', open: true });
    return Promise.resolve(this.files.length - 1);
  }

  async append(fd: number, bytes: Buffer): Promise<{ errno: number; written: number }> {
    await this.hold;
    const file = this.files[fd];
    assert.ok(file?.open === true, 'written to an open file');
    const written = Math.min(bytes.length, this.room ?? bytes.length);
    if (this.room !== undefined) this.room -= written;
    file.text += bytes.subarray(0, written).toString();
    return { errno: written < bytes.length ? ENOSPC : 0, written };
  }

  pathOf(fd: number): string {
    return this.files[fd]?.path ?? '';
  }

  close(fd: number): void {
    const file = this.files[fd];
    if (file !== undefined) file.open = false;
  }

  text(path: string): string {
    return this.files.find((file) => file.path === path)?.text ?? '';
  }

  move(from: string, to: string): void {
    for (const file of this.files) if (file.path === from) file.path = to;
  }
}

class Scene {
  readonly disk = new Disk();
  readonly clock = new FakeClock();
  readonly server: string[] = [];
  readonly messages: string[] = [];
  readonly file: LogFile;

  constructor() {
    const sink = { write: (_level: string, _room: string, text: string) => void this.messages.push(text) };
    this.file = new LogFile({
      app: 'shop',
      file: 'app.log',
      open: () => this.disk.open('app.log'),
      system: this.disk,
      clock: this.clock,
      log: new Log('spawn', sink, new LogThreshold()),
    });
  }

  async say(...lines: string[]): Promise<void> {
    for (const line of lines) {
      this.file.write({ text: line, toServer: () => void this.server.push(line) });
    }
    await this.file.idle();
  }
}

test('lines are appended in their order', async () => {
  const scene = new Scene();
  await scene.say('one', 'two', '');
  await scene.say('three');
  assert.strictEqual(scene.disk.text('app.log'), 'one\ntwo\n\nthree\n');
  assert.deepStrictEqual([scene.server, scene.messages], [[], []]);
});

test('after a renaming the lines go to a new file within two seconds, and the old one is closed', async () => {
  const scene = new Scene();
  await scene.say('one');
  scene.disk.move('app.log', 'app.log.1');
  scene.clock.advance(2000);
  await scene.say('two');
  assert.deepStrictEqual([scene.disk.text('app.log.1'), scene.disk.text('app.log')], ['one\n', 'two\n']);
  assert.strictEqual(scene.disk.files[0]?.open, false);
});

test('a reload opens the file anew at once', async () => {
  const scene = new Scene();
  await scene.say('one');
  scene.disk.move('app.log', 'app.log.1');
  scene.file.reopen();
  await scene.say('two');
  assert.strictEqual(scene.disk.text('app.log'), 'two\n');
});

test("a file that cannot be opened gives its lines to the server's log, with one message", async () => {
  const scene = new Scene();
  scene.disk.refusal = 'open, EACCES';
  await scene.say('one', 'two');
  await scene.say('three');
  scene.clock.advance(5000);
  await scene.say('four');
  assert.deepStrictEqual(scene.server, ['one', 'two', 'three', 'four']);
  assert.strictEqual(scene.messages.length, 1);
  assert.match(scene.messages[0] ?? '', /^PSG6016 .* app=shop file=app\.log why="open, EACCES"$/);
  scene.disk.refusal = '';
  scene.clock.advance(5000);
  await scene.say('five');
  assert.strictEqual(scene.disk.text('app.log'), 'five\n');
  assert.match(scene.messages[1] ?? '', /is used again/);
});

test("on a full disk each line is whole in the file or in the server's log", async () => {
  const scene = new Scene();
  scene.disk.room = 10;
  await scene.say('one', 'two', 'three', 'four');
  assert.strictEqual(scene.disk.text('app.log'), 'one\ntwo\nth');
  assert.deepStrictEqual(scene.server, ['three', 'four']);
  assert.match(scene.messages[0] ?? '', /PSG6016 .* why=ENOSPC$/);
  scene.disk.room = undefined;
  scene.clock.advance(5000);
  await scene.say('five');
  assert.strictEqual(scene.disk.text('app.log'), 'one\ntwo\nth\nfive\n');
});

test('lines that come while a write fails keep their order, and none of them overtakes into the file', async () => {
  const scene = new Scene();
  await scene.say('zero');
  let release: () => void = () => undefined;
  scene.disk.hold = new Promise((resolve) => (release = resolve));
  scene.disk.room = 2;
  const said = scene.say('one');
  for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate);
  void scene.say('two');
  release();
  // The write has failed and `two` waits for its turn.
  while (!scene.server.includes('one')) await Promise.resolve();
  scene.disk.room = undefined;
  void scene.say('three');
  await said;
  assert.deepStrictEqual(scene.server, ['one', 'two', 'three']);
  assert.strictEqual(scene.disk.text('app.log'), 'zero\non');
});

test('a disk that is full again and again is told once a minute', async () => {
  const scene = new Scene();
  for (let second = 0; second < 55; second += 5) {
    scene.disk.room = 4;
    await scene.say('one', 'two');
    scene.clock.advance(5000);
  }
  assert.strictEqual(scene.messages.filter((text) => text.startsWith('PSG6016')).length, 1);
  scene.clock.advance(10_000);
  scene.disk.room = 4;
  await scene.say('one', 'two');
  assert.strictEqual(scene.messages.filter((text) => text.startsWith('PSG6016')).length, 2);
});

test('a disk that does not answer holds a bounded number of lines, and the rest is counted', async () => {
  const scene = new Scene();
  let release: () => void = () => undefined;
  scene.disk.hold = new Promise((resolve) => (release = resolve));
  const line = { text: 'x'.repeat(1023), toServer: () => undefined };
  for (let n = 0; n < 2000; n += 1) {
    scene.file.write(line);
    if (n === 0) for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate);
  }
  release();
  await scene.file.idle();
  assert.strictEqual(scene.disk.text('app.log').length, 1024 + 1024 * 1024);
  assert.match(scene.messages[0] ?? '', /^PSG6017 .* lines=975$/);
});

test('a renamed file whose successor cannot be made is used further', async () => {
  const scene = new Scene();
  await scene.say('one');
  scene.disk.move('app.log', 'app.log.1');
  scene.disk.refusal = 'open, EACCES';
  scene.clock.advance(2000);
  await scene.say('two');
  assert.strictEqual(scene.disk.text('app.log.1'), 'one\ntwo\n');
  assert.match(scene.messages[0] ?? '', /PSG6016/);
});

test('what was written before the end is in the file when it is closed', async () => {
  const scene = new Scene();
  void scene.say('one');
  await scene.file.close();
  assert.strictEqual(scene.disk.text('app.log'), 'one\n');
  assert.strictEqual(scene.disk.files[0]?.open, false);
  await scene.say('late');
  assert.deepStrictEqual(scene.server, ['late']);
});
