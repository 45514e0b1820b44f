/** Smoke test of the whole house: one app behind each MPM, with everything gone at the end. */
import assert from 'node:assert/strict';
import { Apache } from '../support/apache.js';
import { copyApp } from '../support/apps.js';
import { integrationTest } from '../support/audit.js';
import type { Mpm } from '../../core/cli/private-apache.js';

const MPMS: readonly Mpm[] = ['event', 'worker', 'prefork'];

for (const mpm of MPMS) {
  integrationTest(`an app and its static files are served from one virtual host (${mpm})`, async (t) => {
    const app = await copyApp('hello');
    const apache = await Apache.start(t.name, {
      mpm,
      vhosts: [{ name: 'hello.test', documentRoot: `${app}/public` }],
    });

    const dynamic = await apache.get('hello.test', '/some/page');
    assert.equal(dynamic.body.toString(), 'hello from /some/page\n');
    assert.equal(dynamic.status, 200);

    const file = await apache.get('hello.test', '/static.txt');
    assert.equal(file.body.toString(), 'a static file\n');
    assert.equal(apache.appProcesses().length, 1);
  });
}

integrationTest('an app goes on being served over a graceful restart', async (t) => {
  const app = await copyApp('hello');
  const apache = await Apache.start(t.name, {
    vhosts: [{ name: 'hello.test', documentRoot: `${app}/public` }],
  });
  assert.equal((await apache.get('hello.test', '/')).status, 200);
  await apache.graceful();
  assert.equal((await apache.get('hello.test', '/')).status, 200);
});
