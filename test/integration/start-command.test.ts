/** PassengerAppStartCommand: any program that listens on $PORT. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { eventually } from '../support/eventually.js';
import { giveTo } from '../support/apps.js';
import { ask } from './client.js';
import { logLine, needsPackage, rule, site } from './kit.js';

rule('a program that listens on $PORT is served', {}, async (scene) => {
  const app = await scene.app('hello12');
  const apache = await scene.start({
    vhosts: [
      site('a.test', app, `PassengerAppRoot ${app}\nPassengerAppStartCommand "${process.execPath} app.js"`),
    ],
  });
  const answer = await ask(apache.port, 'a.test', '/');
  assert.equal(answer.text, 'hello world\n', answer.text);
});

rule('the app root is derived from DocumentRoot when only the command is given', {}, async (scene) => {
  const one = await scene.app('hello12');
  const two = await scene.app('probe');
  const command = `PassengerAppStartCommand "${process.execPath} app.js"`;
  const apache = await scene.start({ vhosts: [site('a.test', one, command), site('b.test', two, command)] });
  // Passenger 6.0.17 merges two such virtual hosts into one app (reference §1.8).
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello world\n');
  assert.equal((await ask(apache.port, 'b.test', '/')).text, 'hello, probe');
});

rule('two such apps get different ports, and stop with the server', {}, async (scene) => {
  const one = await scene.app('probe');
  const two = await scene.app('probe');
  const command = `PassengerAppStartCommand "${process.execPath} app.js"`;
  const apache = await scene.start({ vhosts: [site('a.test', one, command), site('b.test', two, command)] });
  const port = async (host: string): Promise<string | undefined> =>
    (await ask(apache.port, host, '/env')).json<Record<string, string>>()['PORT'];
  const [first, second] = [await port('a.test'), await port('b.test')];
  assert.match(first ?? '', /^\d+$/);
  assert.notEqual(first, second);
});

rule('a shell pipeline of one command line works, its output reaches the log', {}, async (scene) => {
  const app = await scene.app('hello12');
  writeFileSync(`${app}/run.sh`, `#!/bin/sh\necho from the start script\nexec ${process.execPath} app.js\n`, {
    mode: 0o755,
  });
  giveTo(`${app}/run.sh`, 'psgapp1');
  const apache = await scene.start({ vhosts: [site('a.test', app, 'PassengerAppStartCommand "./run.sh"')] });
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello world\n');
  await logLine(apache, /App \d+ stdout: from the start script/);
});

rule('a command that does not exist is a start failure with a number', {}, async (scene) => {
  const app = await scene.app('hello12');
  const apache = await scene.start({
    vhosts: [site('a.test', app, 'PassengerAppStartCommand "./no-such-program"')],
  });
  apache.allowLog(/PSG\d{4}|App \d+ std/);
  const answer = await ask(apache.port, 'a.test', '/');
  assert.equal(answer.status, 500);
  assert.match(answer.text, /PSG6\d{3}/);
  await logLine(apache, /no-such-program/);
});

rule('json-server runs by PassengerAppStartCommand', { skip: needsPackage('json-server') }, async (scene) => {
  const app = await scene.app('json-server-app');
  writeFileSync(`${app}/db.json`, '{"posts":[{"id":1,"title":"first"}]}');
  giveTo(`${app}/db.json`, 'psgapp1');
  const bin = `${app}/../node_modules/json-server/lib/cli/bin.js`;
  // In a file of its own: the harness puts Apache's port in place of this word.
  const command = `${process.execPath} ${bin} --host 127.0.0.1 --port $PORT db.json`;
  writeFileSync(`${app}/site.conf`, `PassengerAppStartCommand "${command}"\n`);
  const apache = await scene.start({ vhosts: [site('a.test', app, `Include ${app}/site.conf`)] });
  const answer = await ask(apache.port, 'a.test', '/posts/1');
  assert.equal(answer.json<{ title: string }>().title, 'first', answer.text);
  const made = await ask(apache.port, 'a.test', '/posts', {
    body: '{"title":"second"}',
    headers: { 'Content-Type': 'application/json' },
  });
  assert.equal(made.status, 201);
  await eventually(
    5000,
    'the new post',
    async () => (await ask(apache.port, 'a.test', '/posts/2')).status === 200,
  );
});
