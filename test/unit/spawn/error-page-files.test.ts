/** The error page of an app: read seldom, bounded, and never in the way. */
import assert from 'node:assert';
import { test } from 'node:test';
import { Log, LogThreshold } from '../../../core/base/log.js';
import { ErrorPageFiles, PAGE_BYTES, type PageFiles } from '../../../core/spawn/error-page-files.js';
import { FakeClock } from '../../support/fake-clock.js';
import { appConfig } from './app-configs.js';

const EFBIG = 27;
const APP = appConfig({}, { customErrorPage: 'sorry.html' });

class Scene {
  readonly clock = new FakeClock();
  readonly lines: string[] = [];
  readonly closed: number[] = [];
  opened = 0;
  body = 'Sorry';
  refusal = '';
  readonly pages: ErrorPageFiles;

  constructor(changes: Partial<PageFiles> = {}) {
    const files: PageFiles = {
      open: () => {
        this.opened += 1;
        return this.refusal === '' ? Promise.resolve(7) : Promise.reject(new Error(this.refusal));
      },
      readBytes: (_fd, limit) => {
        const bytes = Buffer.from(this.body);
        return Promise.resolve({ errno: bytes.length > limit ? EFBIG : 0, bytes });
      },
      close: (fd) => void this.closed.push(fd),
      ...changes,
    };
    const sink = { write: (_level: string, _room: string, text: string) => void this.lines.push(text) };
    this.pages = new ErrorPageFiles(files, this.clock, new Log('spawn', sink, new LogThreshold()));
  }

  async text(): Promise<string | undefined> {
    return (await this.pages.read(APP))?.toString();
  }
}

test('the page is read once for many visitors, and again after five seconds', async () => {
  const scene = new Scene();
  assert.deepStrictEqual(await Promise.all([scene.text(), scene.text()]), ['Sorry', 'Sorry']);
  scene.body = 'Back soon';
  assert.strictEqual(await scene.text(), 'Sorry');
  assert.strictEqual(scene.opened, 1);
  scene.clock.advance(5000);
  assert.strictEqual(await scene.text(), 'Back soon');
  assert.deepStrictEqual(scene.closed, [7, 7]);
});

test('a page that cannot be used is told once for each reason, and comes back by itself', async () => {
  const scene = new Scene();
  scene.refusal = 'open, ENOENT';
  for (let turn = 0; turn < 3; turn += 1) {
    assert.strictEqual(await scene.text(), undefined);
    scene.clock.advance(5000);
  }
  assert.strictEqual(scene.lines.length, 1);
  assert.match(scene.lines[0] ?? '', /^PSG6018 .* file=sorry\.html why="open, ENOENT"$/);
  scene.refusal = '';
  scene.body = 'x'.repeat(PAGE_BYTES + 1);
  assert.strictEqual(await scene.text(), undefined);
  assert.match(scene.lines[1] ?? '', /why="read, EFBIG"$/);
  scene.body = 'Sorry';
  scene.clock.advance(5000);
  assert.strictEqual(await scene.text(), 'Sorry');
  assert.strictEqual(scene.lines.length, 2);
});

test('a disk that does not answer keeps no visitor waiting for more than half a second', async () => {
  const scene = new Scene({ readBytes: () => new Promise(() => undefined) });
  const answer = scene.text();
  await Promise.resolve();
  scene.clock.advance(500);
  assert.strictEqual(await answer, undefined);
});
