/** The harness watches over all other integration tests, so it is tested first: without our module. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { Apache } from '../support/apache.js';
import { copyApp } from '../support/apps.js';
import { integrationTest } from '../support/audit.js';
import { closeTest, currentTest, openTest } from '../support/current-test.js';
import { stillRuns } from '../support/processes.js';

const PLAIN = { plain: true, vhosts: [{ name: 'plain.test' }] } as const;

for (const mpm of ['event', 'worker', 'prefork'] as const) {
  integrationTest(`a private Apache starts, reloads and stops (${mpm})`, async (t) => {
    const app = await copyApp('hello');
    const apache = await Apache.start(t.name, {
      ...PLAIN,
      mpm,
      vhosts: [{ name: 'plain.test', documentRoot: `${app}/public` }],
    });
    assert.equal((await apache.get('plain.test', '/static.txt')).body.toString(), 'a static file\n');
    await apache.graceful();
    assert.equal((await apache.get('plain.test', '/static.txt')).status, 200);
    await apache.stop();
    await assert.rejects(apache.get('plain.test', '/static.txt'), /ECONNREFUSED/);
  });
}

integrationTest('Apache can run as an ordinary user', { root: true }, async (t) => {
  const apache = await Apache.start(t.name, { ...PLAIN, asUser: 'psgapp2' });
  assert.equal((await apache.get('ready.invalid', '/')).status, 200);
});

integrationTest('a configuration that Apache refuses fails the start with its words', async (t) => {
  await assert.rejects(Apache.start(t.name, { ...PLAIN, server: 'NoSuchDirective On' }), /NoSuchDirective/);
});

test('the audit complains about log lines that nobody declared', async () => {
  openTest('unexpected line');
  try {
    const options = { ...PLAIN, server: '<Location /closed>\nRequire all denied\n</Location>' };
    const apache = await Apache.start('unexpected line', options);
    assert.equal((await apache.get('plain.test', '/closed')).status, 403);
    assert.match((await apache.audit()).join('\n'), /unexpected log line.*AH01630/);
    apache.allowLog(/AH01630/);
    assert.deepEqual(await apache.audit(), []);
  } finally {
    currentTest().removeDirectories();
    closeTest();
  }
});

test('the audit finds and ends a process that an app left behind', { timeout: 60_000 }, async () => {
  const current = openTest('left behind');
  try {
    const app = await copyApp('hello');
    const apache = await Apache.start('left behind', { ...PLAIN, goneDeadlineMs: 300 });
    const left = spawn('sleep', ['100'], { cwd: app, detached: true, stdio: 'ignore' });
    const ended = once(left, 'exit');
    assert.match((await apache.audit()).join('\n'), /process left: \d+ .* sleep 100/);
    await ended;
    assert.equal(
      stillRuns({ pid: left.pid ?? 0, startTime: 0, parent: 0, session: 0, uid: 0, title: '', cwd: '' }),
      false,
    );
  } finally {
    current.removeDirectories();
    closeTest();
  }
  assert.equal(
    current.directories.some((directory) => existsSync(directory)),
    false,
  );
});
