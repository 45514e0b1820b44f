/** The commands as an administrator types them, against a running instance. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../../core/cli/installation.js';
import { VERSION } from '../../core/base/version.js';
import { makeTemporaryDirectory } from '../../core/cli/staged-root.js';
import { Apache } from '../support/apache.js';
import { copyApp } from '../support/apps.js';
import { integrationTest } from '../support/audit.js';
import { userNamed } from '../support/users.js';

const TESTED_ROOT = process.env['PSG_TEST_ROOT'] ?? ROOT;

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(command: string, args: readonly string[], registry: string, user?: string): Outcome {
  const account = user === undefined ? undefined : userNamed(user);
  const file = join(TESTED_ROOT, 'dist/core/cli', `${command}.js`);
  const { status, stdout, stderr } = spawnSync(process.execPath, [file, ...args], {
    encoding: 'utf8',
    cwd: '/',
    env: { PATH: process.env['PATH'], PASSENGER_INSTANCE_REGISTRY_DIR: registry },
    ...(account === undefined ? {} : { uid: account.uid, gid: account.gid }),
  });
  return { code: status, stdout, stderr };
}

const registryOf = (apache: Apache): string => join(apache.instanceDir(), '..');

integrationTest('passenger-status shows instance, app group and process', async (t) => {
  const app = await copyApp('hello');
  const apache = await Apache.start(t.name, {
    vhosts: [{ name: 'hello.test', documentRoot: `${app}/public` }],
  });
  for (let count = 0; count < 3; count += 1) await apache.get('hello.test', '/');

  const { code, stdout, stderr } = run('passenger-status', [], registryOf(apache));
  assert.equal(stderr, '');
  assert.equal(code, 0);
  assert.match(stdout, /^Version : \d+\.\d+\.\d+\nDate {4}: .+\nInstance: \w+ \(Apache\/2\.4.*\)\n/);
  assert.match(stdout, /^App groups {4}: 1$/m);
  assert.match(stdout, /^Processes {5}: 1$/m);
  assert.match(stdout, new RegExp(`^${app} \\(production\\):$`, 'm'));
  const [process] = apache.appProcesses();
  assert.match(
    stdout,
    new RegExp(`^ {2}\\* PID: ${process?.pid} +Sessions: 0 +Processed: 3 +Uptime: \\d+s$`, 'm'),
  );

  const json: unknown = JSON.parse(run('passenger-status', ['--show=json'], registryOf(apache)).stdout);
  assert.equal(typeof json, 'object');
});

integrationTest('who is neither root nor the user of Apache may not look', { root: true }, async (t) => {
  const apache = await Apache.start(t.name, { vhosts: [{ name: 'hello.test' }] });
  const refused = run('passenger-status', [], registryOf(apache), 'psgapp2');
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /as root/);
});

integrationTest('passenger-config lists the instances', async (t) => {
  const apache = await Apache.start(t.name, { vhosts: [{ name: 'hello.test' }] });
  const { code, stdout } = run('passenger-config', ['list-instances'], registryOf(apache));
  assert.equal(code, 0);
  assert.match(stdout, /^Name +PID +Description\n-{74}\n\w+ +\d+ +Apache\/2\.4.*\n$/);
});

test('without an instance passenger-status says where it looked, and fails', (t) => {
  const registry = makeTemporaryDirectory('psg-none-');
  t.after(() => rmdirSync(registry));
  const { code, stderr } = run('passenger-status', [], registry);
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`no instance was found in ${registry}`));
  assert.equal(run('passenger-config', ['list-instances'], registry).code, 0);
});

test('the commands tell their version, and refuse what they do not know', () => {
  assert.equal(run('passenger', ['--version'], '').stdout, `Passenger TS ${VERSION}\n`);
  assert.equal(run('passenger', ['help'], '').code, 0);
  assert.equal(run('passenger', ['start'], '').code, 1);
  assert.equal(run('passenger-status', ['--show=xml'], '').code, 1);
  assert.equal(run('passenger-config', ['about', 'root'], '').stdout, `${TESTED_ROOT}\n`);
});
