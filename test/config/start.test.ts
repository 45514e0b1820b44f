/** What only a running server can show of directives: notices at start, and .htaccess. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DIRECTIVES } from '../../core/config/directives.js';
import { Apache } from '../support/apache.js';
import { copyApp } from '../support/apps.js';
import { integrationTest } from '../support/audit.js';

/** Lines of the log that speak of a directive. */
function linesAbout(log: string, name: string): string[] {
  return log.split('\n').filter((line) => new RegExp(`\\b${name}\\b`).test(line));
}

integrationTest(
  'a directive without effect is told once at each start, with its reason, however often it stands there',
  async (t) => {
    const apache = await Apache.start(t.name, {
      server: 'PassengerDefaultRuby ruby\nPassengerTurbocaching off',
      vhosts: ['a', 'b'].map((name) => ({
        name: `${name}.test`,
        config: 'PassengerRuby /usr/bin/ruby\nRailsSpawnMethod smart\nPassengerRollingRestarts on',
      })),
    });
    const told = ['PassengerDefaultRuby', 'PassengerTurbocaching', 'PassengerRuby', 'PassengerSpawnMethod'];
    for (const name of told) {
      const lines = linesAbout(apache.log(), name);
      assert.equal(lines.length, 1, `${name}: ${lines.join('\n')}`);
      const row = DIRECTIVES.find((candidate) => candidate.name === name);
      assert.ok(row?.status === 'ignored' && lines.join().includes(row.reason), lines.join());
    }
    assert.deepEqual(linesAbout(apache.log(), 'PassengerRollingRestarts'), []);
    await apache.graceful();
    assert.equal(linesAbout(apache.log(), 'PassengerTurbocaching').length, 2);
  },
);

for (const line of ['PassengerUser root', 'PassengerNodejs /tmp/evil', 'PassengerMaxPoolSize 100']) {
  integrationTest(`.htaccess may not say ${line}`, async (t) => {
    const app = await copyApp('hello');
    writeFileSync(join(app, 'public/.htaccess'), `${line}\n`);
    const vhost = { name: 'a.test', documentRoot: join(app, 'public') };
    const apache = await Apache.start(t.name, { vhosts: [vhost] });
    apache.allowLog(/not allowed here/);
    assert.equal((await apache.get('a.test', '/')).status, 500);
    assert.match(apache.log(), new RegExp(`${line.split(' ')[0] ?? ''} not allowed here`));
  });
}

integrationTest('.htaccess may turn the app off for its directory', async (t) => {
  const app = await copyApp('hello');
  writeFileSync(join(app, 'public/.htaccess'), 'PassengerEnabled off\n');
  const vhost = { name: 'a.test', documentRoot: join(app, 'public') };
  const apache = await Apache.start(t.name, { vhosts: [vhost] });
  assert.equal((await apache.get('a.test', '/no-such-file')).status, 404);
  assert.deepEqual(apache.appProcesses(), []);
});
