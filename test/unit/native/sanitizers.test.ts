/** The addon's parts without Node, compiled with g++ under AddressSanitizer and UndefinedBehaviorSanitizer. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

const NATIVE = path.join(__dirname, '..', '..', '..', 'native');
const SOURCES = [
  'src/child.cc',
  'src/files.cc',
  'src/log_writer.cc',
  'src/openings.cc',
  'src/sockets.cc',
  'src/users.cc',
  'test/plain_parts.cc',
];
const hasCompiler = spawnSync('g++', ['--version']).status === 0;

test('memory and arithmetic are in order', hasCompiler ? {} : { skip: 'needs g++' }, (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'psg-native-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const program = path.join(directory, 'plain_parts');
  const flags = ['-std=c++17', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-g', '-O1'];
  const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer'];
  const build = spawnSync('g++', [...flags, ...sanitizers, ...SOURCES, '-o', program], {
    cwd: NATIVE,
    encoding: 'utf8',
  });
  assert.equal(build.status, 0, build.stderr);
  const run = spawnSync(program, { encoding: 'utf8', timeout: 60_000 });
  assert.equal(run.status, 0, run.stderr);
});
