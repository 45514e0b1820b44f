/** `npm run demo` does what the README says, and leaves nothing behind. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../../core/cli/installation.js';
import { eventually } from '../support/eventually.js';

const DEMO = join(ROOT, 'dist/core/cli/demo.js');

function startDemo(args: readonly string[]): { child: ChildProcess; output: () => string } {
  const child = spawn(process.execPath, [DEMO, '--port', '18080', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { child, output: () => text };
}

test('the demo answers on each virtual host, also over a WebSocket', { timeout: 120_000 }, async () => {
  const { child, output } = startDemo(['--check']);
  const [code] = (await once(child, 'close')) as [number | null];
  assert.equal(code, 0, output());
  assert.equal(output().match(/^ok /gm)?.length, 7, output());
  assert.match(output(), /nothing is left behind/);
});

test('Ctrl-C ends the demo and removes its directory', { timeout: 120_000 }, async () => {
  const { child, output } = startDemo([]);
  const directory = await eventually(
    30_000,
    'the demo serves',
    () => /and remove (\S+)\./.exec(output())?.[1],
  );
  assert.equal(existsSync(directory), true);
  child.kill('SIGINT');
  const [code] = (await once(child, 'close')) as [number | null];
  assert.equal(code, 0, output());
  assert.equal(existsSync(directory), false);
});
