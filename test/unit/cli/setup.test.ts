/** Every command begins with the set-up, so it has to be quick and silent about what is there already. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../../../core/cli/installation.js';

const SETUP = join(ROOT, 'core/cli/setup.mjs');

test('set-up that finds everything up to date says so within five seconds', () => {
  const first = spawnSync(process.execPath, [SETUP, '--tests'], { encoding: 'utf8' });
  assert.equal(first.status, 0, first.stderr);
  const started = performance.now();
  const second = spawnSync(process.execPath, [SETUP, '--tests'], { encoding: 'utf8' });
  assert.match(second.stdout, /^set-up: nothing to do \(\d\.\d s\)\n$/);
  assert.ok(performance.now() - started < 5000);
});

test('the installer prints the lines for the configuration and nothing else', () => {
  const installer = join(ROOT, 'core/cli/passenger-install-apache2-module.mjs');
  const { stdout, status } = spawnSync(process.execPath, [installer, '--snippet'], { encoding: 'utf8' });
  assert.equal(status, 0);
  assert.equal(
    stdout,
    `LoadModule passenger_module ${ROOT}/apache-module/build/mod_passenger.so
<IfModule mod_passenger.c>
  PassengerRoot ${ROOT}
</IfModule>
`,
  );
});

test('the installer refuses an option that it does not know', () => {
  const installer = join(ROOT, 'core/cli/passenger-install-apache2-module.mjs');
  const { stderr, status } = spawnSync(process.execPath, [installer, '--languages=ruby'], {
    encoding: 'utf8',
  });
  assert.equal(status, 1);
  assert.match(stderr, /unknown option --languages=ruby/);
});
