/** Directives that change what an app gets or how it is found. Each rule names the directive. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { eventually } from '../support/eventually.js';
import { RawClient, ask } from './client.js';
import { type ProbeFacts, appPids, rule, site } from './kit.js';

type Environment = Record<string, string | undefined>;

async function environment(port: number, host = 'a.test'): Promise<Environment> {
  const answer = await ask(port, host, '/env');
  assert.equal(answer.status, 200, answer.text);
  return answer.json<Environment>();
}

rule('PassengerAppEnv names NODE_ENV and its relatives; default production', {}, async (scene) => {
  const app = await scene.app('probe');
  const apache = await scene.start({
    vhosts: [site('a.test', app), site('b.test', app, 'PassengerAppEnv staging')],
  });
  for (const [host, value] of [
    ['a.test', 'production'],
    ['b.test', 'staging'],
  ] as const) {
    const env = await environment(apache.port, host);
    for (const name of ['NODE_ENV', 'PASSENGER_APP_ENV', 'RAILS_ENV', 'RACK_ENV', 'WSGI_ENV'])
      assert.equal(env[name], value, `${host} ${name}`);
    assert.equal(env['IN_PASSENGER'], '1');
  }
});

rule('SetEnv of the virtual host and of .htaccess is the app’s environment', {}, async (scene) => {
  const app = await scene.app('probe');
  writeFileSync(`${app}/public/.htaccess`, 'SetEnv FROM_HTACCESS "two words"\nSetEnv BOTH htaccess\n');
  const apache = await scene.start({
    vhosts: [
      site(
        'a.test',
        app,
        `SetEnv FROM_VHOST yes\nSetEnv BOTH vhost\nSetEnv NODE_ENV override\n<Directory ${app}/public>\nAllowOverride All\n</Directory>`,
      ),
    ],
  });
  const env = await environment(apache.port);
  assert.equal(env['FROM_VHOST'], 'yes');
  assert.equal(env['FROM_HTACCESS'], 'two words');
  assert.equal(env['BOTH'], 'htaccess');
  // Passenger 6.0.17: SetEnv comes last and wins over everything (reference §5.4).
  assert.equal(env['NODE_ENV'], 'override');
});

rule(
  'the environment is built from nothing: what Apache was started with does not leak',
  {},
  async (scene) => {
    const { apache } = await scene.serve('probe', '', { extraEnv: { PSG_TEST_SECRET: 'leaked' } });
    const env = await environment(apache.port);
    assert.ok(!JSON.stringify(env).includes('leaked'));
    for (const name of Object.keys(env))
      assert.doesNotMatch(name, /^(PSG_|CORE_|INVOCATION|LISTEN_PID$|APACHE_(?!RUN))/, name);
    assert.ok((env['PATH'] ?? '').split(':').includes('/usr/bin'));
    assert.equal(env['PORT'], undefined, 'no PORT for apps whose listen is redirected (reference §4.4)');
  },
);

rule('environment never travels in request headers', {}, async (scene) => {
  const { apache } = await scene.serve('probe', 'SetEnv TOKEN very-secret');
  const answer = await ask(apache.port, 'a.test', '/headers');
  assert.doesNotMatch(answer.text, /very-secret|envvars|dmVyeS1zZWNyZXQ/i);
});

rule('PassengerStartupFile names the entry, PassengerAppType lets it be found', {}, async (scene) => {
  const app = await scene.app('probe');
  writeFileSync(
    `${app}/start-me.js`,
    "require('node:http').createServer((q, s) => s.end('started by name')).listen(0);\n",
    { mode: 0o644 },
  );
  const apache = await scene.start({
    vhosts: [
      site('a.test', app, `PassengerAppType node\nPassengerStartupFile start-me.js\nPassengerUser psgapp1`),
    ],
  });
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'started by name');
});

rule('PassengerAppRoot serves an app whose DocumentRoot lies elsewhere', {}, async (scene) => {
  const app = await scene.app('probe');
  const other = await scene.app('esm');
  const apache = await scene.start({
    vhosts: [{ name: 'a.test', documentRoot: `${other}/public`, config: `PassengerAppRoot ${app}` }],
  });
  assert.equal((await ask(apache.port, 'a.test', '/status')).json<ProbeFacts>().cwd, app);
  assert.equal((await ask(apache.port, 'a.test', '/file.txt')).text, 'a file of esm\n');
});

rule('PassengerNodejs names the program that runs the app', {}, async (scene) => {
  const app = await scene.app('probe');
  const wrapper = `${app}/my-node`;
  writeFileSync(wrapper, `#!/bin/sh\nexport RAN_BY_WRAPPER=1\nexec ${process.execPath} "$@"\n`, {
    mode: 0o755,
  });
  const apache = await scene.start({ vhosts: [site('a.test', app, `PassengerNodejs ${wrapper}`)] });
  assert.equal((await environment(apache.port))['RAN_BY_WRAPPER'], '1');
});

rule('PassengerAppGroupName: the same name shares processes, another separates them', {}, async (scene) => {
  const app = await scene.app('probe');
  const apache = await scene.start({
    vhosts: [
      site('a.test', app, 'PassengerAppGroupName shared'),
      site('b.test', app, 'PassengerAppGroupName shared'),
      site('c.test', app, 'PassengerAppGroupName alone'),
    ],
  });
  const pid = async (host: string): Promise<string> => (await ask(apache.port, host, '/pid')).text;
  const [a, b, c] = [await pid('a.test'), await pid('b.test'), await pid('c.test')];
  assert.equal(a, b);
  assert.notEqual(a, c);
});

rule('PassengerShowVersionInHeader off hides the version', {}, async (scene) => {
  const { apache } = await scene.serve('probe', '', { server: 'PassengerShowVersionInHeader off' });
  const answer = await ask(apache.port, 'a.test', '/');
  assert.match(String(answer.headers['x-powered-by']), /Passenger/);
  assert.doesNotMatch(String(answer.headers['x-powered-by']), /\d/);
});

rule('PassengerBufferUpload on waits for the whole body, off streams it', {}, async (scene) => {
  const { apache } = await scene.serve(
    'probe',
    '<Location /upload-watch>\nPassengerBufferUpload on\n</Location>\n<Location /duplex>\nPassengerBufferUpload off\n</Location>',
  );
  assert.equal((await ask(apache.port, 'a.test', '/')).status, 200);
  const client = await RawClient.open(apache.port);
  client.send(
    'POST /upload-watch HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\nConnection: close\r\n\r\n12345',
  );
  await new Promise((turn) => setTimeout(turn, 500));
  const state = (await ask(apache.port, 'a.test', '/upload-state')).json<{ state: string }>();
  assert.equal(state.state, 'none', 'the app is not bothered before the body is complete');
  client.send('67890');
  await eventually(5000, 'the answer', () => client.ended && client.text.endsWith('10'));
  client.close();
});

rule('PassengerAppType is found for ES modules and package.json as well', {}, async (scene) => {
  const { apache } = await scene.serve('esm');
  const answer = await ask(apache.port, 'a.test', '/');
  assert.equal(answer.json<{ main: boolean }>().main, true, answer.text);
});

rule('PassengerMinInstances and PassengerMaxPoolSize are obeyed', {}, async (scene) => {
  const [app, other] = [await scene.app('probe'), await scene.app('probe')];
  const apache = await scene.start({
    server: 'PassengerMaxPoolSize 3',
    vhosts: [
      site('a.test', app, 'PassengerMinInstances 2'),
      site('b.test', other, 'PassengerForceMaxConcurrentRequestsPerProcess 1'),
    ],
  });
  await ask(apache.port, 'a.test', '/');
  await eventually(10_000, 'two processes', () => appPids(apache, app).length === 2);
  await Promise.all(Array.from({ length: 4 }, () => ask(apache.port, 'b.test', '/slow?ms=200')));
  assert.deepEqual([appPids(apache, app).length, appPids(apache, other).length], [2, 1]);
});

rule('an existing <IfModule mod_passenger.c> keeps working', {}, async (scene) => {
  const { apache } = await scene.serve(
    'probe',
    '<IfModule mod_passenger.c>\nPassengerAppEnv inside\n</IfModule>\n<IfModule !mod_passenger.c>\nPassengerAppEnv outside\n</IfModule>',
  );
  assert.equal((await environment(apache.port))['NODE_ENV'], 'inside');
});
