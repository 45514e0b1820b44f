/** PassengerCustomErrorPage through Apache: an app's own page for its failures, read as its user. */
import assert from 'node:assert/strict';
import { renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { giveTo } from '../support/apps.js';
import { eventually } from '../support/eventually.js';
import { ask } from './client.js';
import { logLine, rule, site } from './kit.js';

const OWN_PAGE = 'PassengerCustomErrorPage sorry.html';

for (const threads of [1, 2]) {
  rule(
    `an app that cannot start, or dies, shows its own page (${threads} gateway threads)`,
    {},
    async (scene) => {
      const [broken, probe] = [await scene.app('broken'), await scene.app('probe')];
      for (const app of [broken, probe]) {
        writeFileSync(join(app, 'sorry.html'), `<h1>Sorry from ${app}</h1>`, { mode: 0o600 });
        giveTo(join(app, 'sorry.html'), 'psgapp1');
      }
      const apache = await scene.start({
        vhosts: [site('broken.test', broken, OWN_PAGE), site('a.test', probe, OWN_PAGE)],
        server: `PassengerGatewayThreads ${threads}`,
      });
      apache.allowLog(/PSG\d{4}|App \d+ std/);
      const html = { headers: { Accept: 'text/html' } };
      const started = await ask(apache.port, 'broken.test', '/', html);
      assert.deepEqual([started.status, started.text], [500, `<h1>Sorry from ${broken}</h1>`]);
      const died = await ask(apache.port, 'a.test', '/crash', html);
      assert.deepEqual([died.status, died.text], [502, `<h1>Sorry from ${probe}</h1>`]);
      assert.match(String(died.headers['content-type']), /^text\/html; charset=utf-8$/i);
      const json = await ask(apache.port, 'broken.test', '/', { headers: { Accept: 'application/json' } });
      assert.match(json.text, /"code":"PSG\d{4}"/);
    },
  );
}

rule(
  'a page that is missing, or no file of the user’s own, is told once, and the plain page shown',
  { root: true },
  async (scene) => {
    const app = await scene.app('broken');
    const apache = await scene.start({ vhosts: [site('a.test', app, OWN_PAGE)] });
    apache.allowLog(/PSG\d{4}|App \d+ std/);
    const file = join(app, 'sorry.html');
    for (let turn = 0; turn < 3; turn += 1) {
      const answer = await ask(apache.port, 'a.test', '/');
      assert.deepEqual([answer.status, /PSG6\d{3}/.test(answer.text)], [500, true]);
    }
    await logLine(apache, /PSG6018 .*file=sorry\.html why="open, ENOENT"/);
    assert.equal(apache.log().match(/PSG6018/g)?.length, 1);

    const secret = join(apache.dir, 'secret');
    writeFileSync(secret, 'a secret of root', { mode: 0o600 });
    symlinkSync(secret, file);
    await eventually(10_000, 'the link is seen', async () => {
      assert.doesNotMatch((await ask(apache.port, 'a.test', '/')).text, /a secret/);
      return /PSG6018 .*why="a symbolic link/.test(apache.log());
    });
    unlinkSync(file);
    renameSync(secret, file);
    await eventually(10_000, 'root’s file is refused', async () => {
      assert.doesNotMatch((await ask(apache.port, 'a.test', '/')).text, /a secret/);
      return /PSG6018 .*why="open, EACCES"/.test(apache.log());
    });
  },
);
