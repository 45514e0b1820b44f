/** The README of a room that lists its files lists all of them, and none that is not there. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { TOP, textOf } from './sources.js';

/** Page → the room that it lists. */
const PAGES: Readonly<Record<string, string>> = {
  'apache-module/README.md': 'apache-module',
  'core/config/README.md': 'core/config',
  'core/gateway/README.md': 'core/gateway',
  'core/instance/README.md': 'core/instance',
  'core/pool/README.md': 'core/pool',
  'core/spawn/README.md': 'core/spawn',
  'core/supervisor/README.md': 'core/supervisor',
  'core/threads/README.md': 'core/threads',
  'core/wire/PROTOCOL.md': 'core/wire',
  'native/README.md': 'native/src',
};
const SOURCE = /\.(ts|c|cc)$/;

/** Names in backquotes or table cells; `emit*.ts` stands for all that begin so. */
function namesIn(text: string): string[] {
  return [...text.matchAll(/(?<![\w/.-])[\w*-]+\.(?:ts|cc|c)\b/g)].map(([name]) => name);
}

function covers(name: string, file: string): boolean {
  const [before = '', after] = name.split('*');
  return after === undefined ? name === file : file.startsWith(before) && file.endsWith(after);
}

for (const [page, room] of Object.entries(PAGES)) {
  test(`${page} names each file of ${room}, and no other by its bare name`, () => {
    const files = readdirSync(join(TOP, room)).filter((name) => SOURCE.test(name));
    const names = namesIn(textOf(page));
    const unnamed = files.filter((file) => !names.some((name) => covers(name, file)));
    assert.deepEqual(unnamed, []);
    const gone = names.filter((name) => !files.some((file) => covers(name, file)));
    const elsewhere = gone.filter((name) => !existsSync(join(TOP, 'core', name)));
    assert.deepEqual(elsewhere, []);
  });
}
