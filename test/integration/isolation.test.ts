/** Two apps on two virtual hosts never see each other's environment, files or sockets. */
import assert from 'node:assert/strict';
import { chmodSync, readdirSync, writeFileSync } from 'node:fs';
import { ask } from './client.js';
import { type ProbeFacts, appPids, corePid, rule, site, supervisorPid } from './kit.js';

rule(
  'two apps of two users see neither environment, nor files, nor processes, nor sockets of each other',
  { root: true },
  async (scene) => {
    const one = await scene.app('probe', 'psgapp1');
    const two = await scene.app('probe', 'psgapp2');
    writeFileSync(`${one}/secret.txt`, 'belongs to one', { mode: 0o600 });
    writeFileSync(`${two}/secret.txt`, 'belongs to two', { mode: 0o600 });
    for (const file of [`${one}/secret.txt`, `${two}/secret.txt`]) chmodSync(file, 0o600);
    const apache = await scene.start({
      vhosts: [
        site('one.test', one, 'SetEnv MINE one-only\nSetEnv TOKEN_ONE 1'),
        site('two.test', two, 'SetEnv MINE two-only\nSetEnv TOKEN_TWO 2'),
      ],
    });
    const factsOf = async (host: string): Promise<ProbeFacts> =>
      (await ask(apache.port, host, '/status')).json<ProbeFacts>();
    const envOf = async (host: string): Promise<Record<string, string>> =>
      (await ask(apache.port, host, '/env')).json<Record<string, string>>();
    const [first, second] = [await factsOf('one.test'), await factsOf('two.test')];
    assert.notEqual(first.proc['Uid'], second.proc['Uid']);
    assert.notEqual(first.sid, second.sid);
    const [envOne, envTwo] = [await envOf('one.test'), await envOf('two.test')];
    assert.equal(envOne['MINE'], 'one-only');
    assert.equal(envTwo['MINE'], 'two-only');
    assert.equal(envOne['TOKEN_TWO'], undefined);
    assert.equal(envTwo['TOKEN_ONE'], undefined);
    const reads = [
      `${two}/secret.txt`,
      `/proc/${second.pid}/environ`,
      `/proc/${corePid(apache)}/environ`,
      `/proc/${supervisorPid(apache)}/environ`,
      `/proc/${corePid(apache)}/mem`,
    ];
    for (const path of reads) {
      const answer = await ask(apache.port, 'one.test', `/read-file?path=${encodeURIComponent(path)}`);
      assert.equal(answer.status, 403, `${path}: ${answer.text}`);
    }
    const instance = apache.instanceDir();
    const sockets = [
      `${instance}/core.d/core.sock`,
      `${instance}/core.d/admin.sock`,
      ...readdirSync(`${instance}/apps`).map((name) => `${instance}/apps/${name}`),
    ];
    assert.ok(sockets.length >= 4, sockets.join(' '));
    for (const path of sockets) {
      const answer = await ask(apache.port, 'one.test', `/connect-unix?path=${encodeURIComponent(path)}`);
      assert.equal(answer.text, 'EACCES', path);
    }
    assert.equal(appPids(apache).length, 2);
  },
);

rule(
  'apps in closed homes (mode 0700) are served, because only they themselves read them',
  { root: true },
  async (scene) => {
    const app = await scene.app('probe', 'psgapp1');
    // The public directory must stay reachable for Apache's user; everything else may be closed.
    for (const name of ['app.js']) chmodSync(`${app}/${name}`, 0o600);
    const apache = await scene.start({ vhosts: [site('a.test', app)] });
    assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
  },
);
