/** Commands act on one instance: the only one, or the one that its name or the beginning of its name points to. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { CommandError } from '../../../core/cli/program.js';
import { selectInstance } from '../../../core/cli/select-instance.js';

function registryWith(t: TestContext, ...names: string[]): NodeJS.ProcessEnv {
  const registry = mkdtempSync(join(tmpdir(), 'psg-reg-'));
  t.after(() => rmSync(registry, { recursive: true }));
  for (const name of names) {
    const directory = join(registry, `passenger.${name}`);
    mkdirSync(directory);
    const properties = { supervisorPid: process.pid, serverSoftware: 'Apache/2.4' };
    writeFileSync(join(directory, 'properties.json'), JSON.stringify(properties));
  }
  return { PASSENGER_INSTANCE_REGISTRY_DIR: registry };
}

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof CommandError);
    assert.equal(error.exitCode, 1);
    return error.message;
  }
  throw new Error('nothing was thrown');
}

test('the only instance needs no name', (t) => {
  assert.equal(selectInstance(undefined, registryWith(t, 'kPAAybX')).name, 'kPAAybX');
});

test('of several instances one is chosen by the beginning of its name', (t) => {
  const env = registryWith(t, 'kPAAybX', 'kQbbbbb');
  assert.equal(selectInstance('kQ', env).name, 'kQbbbbb');
  assert.match(
    messageOf(() => selectInstance('k', env)),
    /Several instances.*\n.*kPAAybX.*\n.*kQbbbbb/,
  );
  assert.match(
    messageOf(() => selectInstance(undefined, env)),
    /Several instances/,
  );
});

test('a name that nobody has is answered with the names that there are', (t) => {
  assert.match(
    messageOf(() => selectInstance('zz', registryWith(t, 'kPAAybX'))),
    /has the name zz.*\n.*kPAAybX/,
  );
});

test('without instances the directories that were searched are named', (t) => {
  const env = registryWith(t);
  const message = messageOf(() => selectInstance(undefined, env));
  assert.ok(message.includes(env['PASSENGER_INSTANCE_REGISTRY_DIR'] ?? '?'));
});
