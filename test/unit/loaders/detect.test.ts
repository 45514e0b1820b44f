/** Which startup file an app without app.js has. */
import assert from 'node:assert';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { LOADERS } from './activated-app.js';

interface Answer {
  readonly type: string;
  readonly startupFile?: string;
  readonly message?: string;
}

async function detectIn(directory: string): Promise<Answer> {
  const detect = path.join(LOADERS, 'detect.cjs');
  const child = spawn(process.execPath, [detect], {
    cwd: directory,
    stdio: ['ignore', 'ignore', 'inherit', 'ignore', 'pipe'],
  });
  let text = '';
  const channel = child.stdio[4] as net.Socket;
  channel.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  await new Promise((resolve) => child.once('close', resolve));
  return JSON.parse(text) as Answer;
}

function app(t: TestContext, files: readonly string[], packageJson?: unknown): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'psg-detect-'));
  t.after(() => rmSync(directory, { recursive: true }));
  for (const file of files) {
    mkdirSync(path.dirname(path.join(directory, file)), { recursive: true });
    writeFileSync(path.join(directory, file), '');
  }
  if (packageJson === undefined) return directory;
  const text = typeof packageJson === 'string' ? packageJson : JSON.stringify(packageJson);
  writeFileSync(path.join(directory, 'package.json'), text);
  return directory;
}

const start = (script: unknown): unknown => ({ scripts: { start: script } });

const FOUND: readonly { files: string[]; json: unknown; expect: string }[] = [
  { files: ['app.js', 'x.js'], json: { main: 'x.js' }, expect: 'app.js' },
  { files: ['star.json', 'main.js', 'index.js'], json: {}, expect: 'main.js' },
  { files: ['lib/main.js'], json: { main: 'lib/main.js' }, expect: 'lib/main.js' },
  { files: ['lib/main.js'], json: { main: './lib/main' }, expect: 'lib/main.js' },
  { files: ['lib/index.js'], json: { main: 'lib' }, expect: 'lib/index.js' },
  { files: ['a.js', 'b.js'], json: { main: 'a.js', ...(start('node b.js') as object) }, expect: 'a.js' },
  { files: ['b.js'], json: { main: 'index.js', ...(start('node b.js') as object) }, expect: 'b.js' },
  { files: ['bin/www'], json: start('node ./bin/www'), expect: 'bin/www' },
  {
    files: ['s.mjs'],
    json: start('NODE_ENV=production node --enable-source-maps -r dotenv/config s.mjs --x'),
    expect: 's.mjs',
  },
  { files: ['s.js'], json: start('node --import=./hook.mjs s.js'), expect: 's.js' },
  { files: ['server.js', 'x.js'], json: start('node x.js && echo done'), expect: 'server.js' },
  { files: ['server.js'], json: start('next start'), expect: 'server.js' },
  { files: ['server.js', 'index.js'], json: {}, expect: 'server.js' },
  { files: ['index.js'], json: undefined, expect: 'index.js' },
  { files: ['index.js'], json: { main: '../../etc/hosts' }, expect: 'index.js' },
  { files: ['index.js'], json: { main: '/etc/hosts' }, expect: 'index.js' },
  { files: ['index.js'], json: { main: ['x'], scripts: 'no' }, expect: 'index.js' },
];

for (const { files, json, expect } of FOUND) {
  test(`${files.join(', ')} with package.json ${JSON.stringify(json) ?? 'missing'} starts with ${expect}`, async (t) => {
    assert.deepStrictEqual(await detectIn(app(t, files, json)), { type: 'detected', startupFile: expect });
  });
}

const REFUSED: readonly { what: string; files: string[]; json: unknown; says: RegExp }[] = [
  { what: 'nothing that could be started', files: [], json: {}, says: /found neither/ },
  { what: 'broken JSON', files: ['index.js'], json: '{"main":', says: /not valid JSON/ },
  {
    what: 'a package.json of 300 KB',
    files: ['index.js'],
    json: JSON.stringify({ x: 'y'.repeat(300_000) }),
    says: /larger than 256 KB/,
  },
];

for (const { what, files, json, says } of REFUSED) {
  test(`${what} is answered with a sentence`, async (t) => {
    const answer = await detectIn(app(t, files, json));
    assert.strictEqual(answer.type, 'failed');
    assert.match(answer.message ?? '', says);
  });
}

test('a FIFO named package.json does not block', async (t) => {
  const directory = app(t, ['index.js']);
  execFileSync('mkfifo', [path.join(directory, 'package.json')]);
  assert.match((await detectIn(directory)).message ?? '', /not a regular file/);
});
