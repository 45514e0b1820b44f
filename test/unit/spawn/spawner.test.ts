/** Starting, watching, ending and adopting real processes, with a small supervisor in place of the one that is root. */
import assert from 'node:assert';
import { chmodSync, existsSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { PassengerError } from '../../../core/base/errors.js';
import type { AppReport } from '../../../core/spawn/spawner.js';
import { eventually } from '../../support/eventually.js';
import { appConfig, envEntries } from './app-configs.js';
import { appRoot, configOf, failureOf, get, HELLO, noneLeft } from './real-apps.js';
import { SmallSupervisor } from './small-supervisor.js';

test('a Node app is started, serves, reports, logs and ends', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const config = configOf(t, { 'app.js': `console.log('out'); console.error('err'); ${HELLO}` });
  const handle = await supervisor.spawner.spawn(config, 3).ready;
  assert.strictEqual(await get(handle.target), `hello ${handle.pid}`);
  assert.strictEqual(handle.concurrency, 0);
  await eventually(
    5000,
    'output',
    () =>
      supervisor.lines.includes(`[app:notice] App ${handle.pid} stdout: out`) &&
      supervisor.lines.includes(`[app:notice] App ${handle.pid} stderr: err`),
  );
  const reports: AppReport[] = [];
  handle.onReport((report) => reports.push(report));
  await eventually(5000, 'a report', () => reports.length > 0);
  assert.ok(typeof reports[0]?.elu === 'number');
  handle.shutdown();
  assert.deepStrictEqual(await handle.exited, { code: 0, expected: true });
  handle.signal('SIGKILL', true);
  assert.ok(!supervisor.asked.some(({ type }) => type === 'SIGNAL'));
});

test('an exit that nobody asked for is told as unexpected, with its signal', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const handle = await supervisor.spawner.spawn(
    configOf(t, { 'app.js': `${HELLO} setTimeout(() => process.abort(), 100)` }),
    1,
  ).ready;
  assert.deepStrictEqual(await handle.exited, { signal: 'SIGABRT', expected: false });
});

test('an app with a log file of its own finds output, failed start and journey there', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const code =
    "console.log('says'); setTimeout(() => { throw new Error('no database'); }, 10); setInterval(() => {}, 1000);";
  const config = configOf(t, { 'app.js': code }, { appLogFile: 'app.log' });
  await failureOf(supervisor.spawner.spawn(config, 1).ready);
  await supervisor.spawner.logsWritten();
  const text = readFileSync(path.join(config.appRoot, 'app.log'), 'utf8');
  assert.match(text, /App \d+ stdout: says\n/);
  assert.match(text, /App \d+ stderr: Error: no database\n/);
  assert.match(text, /Passenger: start of .* failed: PSG6006 .* journey="prepare .* loading failed after/);
  assert.match(text, /Passenger: process \d+ ended exitCode=1\n/);
  assert.doesNotMatch(supervisor.lines.join('\n'), /says|no database/);
});

test('a start that never got a process is explained in the log file, too', async (t) => {
  const supervisor = new SmallSupervisor(t);
  supervisor.refuse = ({ spawnId }) => ({
    type: 'SPAWN_FAILED',
    spawnId,
    code: 'PSG7017',
    step: 'chdir',
    errno: 13,
    detail: 'closed path=/srv mode=0700',
  });
  const config = configOf(t, { 'app.js': HELLO }, { appLogFile: 'app.log' });
  await failureOf(supervisor.spawner.spawn(config, 1).ready);
  await supervisor.spawner.logsWritten();
  const text = readFileSync(path.join(config.appRoot, 'app.log'), 'utf8');
  assert.match(text, /failed: PSG7017 .*detail="closed path=\/srv mode=0700"/);
});

test('a new core writes on in the log file of a process that it adopts', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const ticking = `${HELLO} let n = 0; setInterval(() => console.log('tick ' + (n += 1)), 20)`;
  const config = configOf(t, { 'app.js': ticking }, { appLogFile: 'app.log' });
  const before = await supervisor.spawner.spawn(config, 5).ready;
  const { message, fds } = supervisor.adoption(before.pid);
  const file = path.join(config.appRoot, 'app.log');
  const next = supervisor.newSpawner();
  supervisor.spawner = next;
  await eventually(5000, 'the first core writes', () => existsSync(file));
  renameSync(file, `${file}.old`);
  const adopted = await next.adopt(message, fds);
  await eventually(
    5000,
    'the new core writes',
    () => existsSync(file) && readFileSync(file, 'utf8').includes('tick'),
  );
  adopted.handle.shutdown();
  await adopted.handle.exited;
});

test('an app that closes its output goes on', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const close = "require('fs').closeSync(1); require('fs').closeSync(2);";
  const handle = await supervisor.spawner.spawn(
    configOf(t, { 'app.js': `${HELLO} setTimeout(() => { ${close} }, 10)` }),
    1,
  ).ready;
  await eventually(5000, 'still answers', async () => (await get(handle.target)) === `hello ${handle.pid}`);
});

test('without app.js the file that package.json names is found first', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const files = {
    'package.json': '{"scripts":{"start":"node run.mjs"}}',
    'run.mjs': `import http from 'http'; http.createServer((q, s) => s.end('run')).listen(80);`,
  };
  const config = configOf(t, files, {}, { found: 'package', foundStartupFile: '' });
  const handle = await supervisor.spawner.spawn(config, 1).ready;
  assert.strictEqual(await get(handle.target), 'run');
  const kinds = supervisor.asked.map((message) =>
    message.type === 'SPAWN' ? [message.kind, message.startupFile] : [],
  );
  assert.deepStrictEqual(kinds, [
    ['detect', ''],
    ['node', 'run.mjs'],
  ]);
});

test('where no startup file can be found the error says what was looked for', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const config = configOf(t, { 'package.json': '{}' }, {}, { found: 'package', foundStartupFile: '' });
  const { code, details } = await failureOf(supervisor.spawner.spawn(config, 1).ready);
  assert.deepStrictEqual([code, details['step']], ['PSG6007', 'detect']);
  assert.match(String(details['reason']), /found neither/);
  await noneLeft(supervisor);
});

test('an app that throws fails at once with exception, output and journey', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const config = configOf(t, { 'app.js': "console.log('connecting'); throw new Error('no database')" });
  const { code, details } = await failureOf(supervisor.spawner.spawn(config, 1).ready);
  assert.strictEqual(code, 'PSG6006');
  assert.strictEqual(details['exception'], 'no database');
  assert.match(String(details['stack']), /app\.js:1/);
  assert.match(String(details['lastOutput']), /^connecting\n[^]*no database/);
  assert.match(
    String(details['journey']),
    /^prepare \d+ ms, fork \d+ ms, boot \d+ ms, loading failed after \d+ ms$/,
  );
  assert.deepStrictEqual(
    [details['step'], details['exitCode'], details['signal']],
    ['loading', 1, undefined],
  );
  await noneLeft(supervisor);
});

test('an app that ends without listening fails at once', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const { code, details } = await failureOf(
    supervisor.spawner.spawn(configOf(t, { 'app.js': 'process.exit(7)' }), 1).ready,
  );
  assert.deepStrictEqual([code, details['exitCode']], ['PSG6005', 7]);
});

test('an app that never listens is killed at the start timeout, and the step is named', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const source =
    "console.log('waiting for Mongo'); setInterval(() => {}, 1000); process.on('SIGTERM', () => {});";
  const { code, details } = await failureOf(
    supervisor.spawner.spawn(configOf(t, { 'app.js': source }, { startTimeout: '1' }), 1).ready,
  );
  assert.deepStrictEqual([code, details['step'], details['seconds']], ['PSG6004', 'loading', 1]);
  assert.strictEqual(details['lastOutput'], 'waiting for Mongo');
  await noneLeft(supervisor);
});

test('an app that listens with TLS only is explained at the start timeout', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const source = "require('https').createServer().listen(0, '127.0.0.1')";
  const { details } = await failureOf(
    supervisor.spawner.spawn(configOf(t, { 'app.js': source }, { startTimeout: '1' }), 1).ready,
  );
  assert.match(String(details['note']), /TLS ends in Apache/);
  assert.ok(supervisor.lines.some((line) => line.includes('PSG6013')));
});

test('a start that is canceled leaves nothing behind, however far it was', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const config = configOf(t, { 'app.js': 'setInterval(() => {}, 1000)' });
  const early = supervisor.spawner.spawn(config, 1);
  early.cancel();
  assert.strictEqual((await failureOf(early.ready)).code, 'PSG6008');
  const late = supervisor.spawner.spawn(config, 1);
  await eventually(5000, 'both run', () => supervisor.children.size > 0 && supervisor.spawner.size > 0);
  late.cancel();
  assert.strictEqual((await failureOf(late.ready)).code, 'PSG6008');
  await noneLeft(supervisor);
});

test('a supervisor that does not answer ends in the start timeout', async (t) => {
  const supervisor = new SmallSupervisor(t);
  supervisor.silent = true;
  const { code, details } = await failureOf(
    supervisor.spawner.spawn(configOf(t, {}, { startTimeout: '1' }), 1).ready,
  );
  assert.deepStrictEqual([code, details['step']], ['PSG6004', 'fork']);
});

test('the supervisor’s own reasons keep their number; an unknown one gets ours', async (t) => {
  const supervisor = new SmallSupervisor(t);
  for (const [told, expected] of [
    ['PSG7010', 'PSG7010'],
    ['PSG9999', 'PSG6012'],
  ] as const) {
    supervisor.refuse = ({ spawnId }) => ({
      type: 'SPAWN_FAILED',
      spawnId,
      code: told,
      step: 'identity',
      errno: 2,
      detail: 'no user x',
    });
    const { code, details } = await failureOf(supervisor.spawner.spawn(configOf(t, {}), 1).ready);
    assert.strictEqual(code, expected);
    assert.deepStrictEqual(
      [details['step'], details['failedStep'], details['errno'], details['detail']],
      ['fork', 'identity', 2, 'no user x'],
    );
  }
});

test('an environment that does not fit into a message is refused with a number', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const config = configOf(t, { 'app.js': HELLO }, {}, { env: envEntries(`BIG=${'x'.repeat(60_000)}`) });
  assert.strictEqual((await failureOf(supervisor.spawner.spawn(config, 1).ready)).code, 'PSG6015');
});

test('a command gets a free port and is ready when it accepts there; it is ended by SIGTERM', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const program =
    "require('http').createServer((q, s) => s.end('port')).listen(process.env.PORT, '127.0.0.1');";
  const config = configOf(
    t,
    { 'server.cjs': program },
    { appStartCommand: `${process.execPath} server.cjs` },
    { found: '' },
  );
  const handle = await supervisor.spawner.spawn(config, 1).ready;
  assert.ok('port' in handle.target);
  assert.strictEqual(await get(handle.target), 'port');
  handle.shutdown();
  assert.deepStrictEqual(await handle.exited, { signal: 'SIGTERM', expected: true });
});

test('a command that takes the inherited socket instead of the port is served there', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const program = "require('http').createServer((q, s) => s.end('activated')).listen({ fd: 3 });";
  const config = configOf(
    t,
    { 'server.cjs': program },
    { appStartCommand: `${process.execPath} server.cjs` },
  );
  const handle = await supervisor.spawner.spawn(config, 1).ready;
  assert.ok('path' in handle.target);
  assert.strictEqual(await get(handle.target), 'activated');
});

test('a command that does not exist fails at once with the shell’s words', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const { code, details } = await failureOf(
    supervisor.spawner.spawn(configOf(t, {}, { appStartCommand: 'no-such-program' }), 1).ready,
  );
  assert.deepStrictEqual([code, details['exitCode']], ['PSG6005', 127]);
  assert.match(String(details['lastOutput']), /no-such-program.*not found/);
});

test('a new core adopts a running process: it serves, reports, logs and ends as before', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const config = configOf(
    t,
    { 'app.js': `${HELLO} setInterval(() => console.log('tick'), 20)` },
    {},
    { env: envEntries('A=b') },
  );
  const before = await supervisor.spawner.spawn(config, 5).ready;
  const { message, fds } = supervisor.adoption(before.pid);
  // Both cores read here, which the test has to bear; in reality the old one is dead.
  const next = supervisor.newSpawner();
  supervisor.spawner = next;
  const adopted = await next.adopt(message, fds);
  assert.deepStrictEqual(adopted.config, config);
  assert.strictEqual(adopted.generation, 5);
  assert.deepStrictEqual(
    [adopted.handle.pid, adopted.handle.key, adopted.handle.target],
    [before.pid, before.key, before.target],
  );
  assert.strictEqual(adopted.handle.startedAt.getTime(), before.startedAt.getTime());
  assert.strictEqual(await get(adopted.handle.target), `hello ${before.pid}`);
  adopted.handle.shutdown();
  assert.strictEqual((await adopted.handle.exited).code, 0);
});

test('a process that was still starting is not adopted but ended', async (t) => {
  const supervisor = new SmallSupervisor(t);
  // The first core would sometimes read the answer to the second one's question.
  supervisor.deaf = true;
  const attempt = supervisor.spawner.spawn(
    configOf(t, { 'app.js': "console.log('up'); setInterval(() => {}, 1000)" }),
    1,
  );
  attempt.ready.catch(() => undefined);
  await eventually(5000, 'loads', () => supervisor.lines.some((line) => line.endsWith('stdout: up')));
  const [pid] = [...supervisor.children.keys()];
  const { message, fds } = supervisor.adoption(Number(pid));
  supervisor.spawner = supervisor.newSpawner();
  await assert.rejects(
    supervisor.spawner.adopt(message, fds),
    (error) => error instanceof PassengerError && error.code === 'PSG6014',
  );
  await noneLeft(supervisor);
});

test('a record that cannot be read ends the process', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const handle = await supervisor.spawner.spawn(configOf(t, { 'app.js': HELLO }), 1).ready;
  const { message, fds } = supervisor.adoption(handle.pid);
  const next = supervisor.newSpawner();
  await assert.rejects(next.adopt({ ...message, meta: Buffer.from('{"version":99}') }, fds), /PSG6014/);
  await handle.exited;
});

test('a raw Meteor app runs with three free ports, its environment and an interrupt at the end', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const meteor = `#!/bin/sh\nexec ${process.execPath} server.cjs "$@"\n`;
  const program = `
    process.on('SIGINT', () => process.exit(9));
    require('http').createServer((q, s) => s.end(JSON.stringify([process.argv.slice(2), process.env.HTTP_FORWARDED_COUNT])))
      .listen(process.argv[4], '127.0.0.1');`;
  const root = appRoot(t, { meteor, 'server.cjs': program });
  chmodSync(path.join(root, 'meteor'), 0o755);
  const env = envEntries(`PATH=${root}:/usr/bin:/bin`);
  const config = appConfig(
    { appRoot: root, found: 'meteor', foundStartupFile: '', env },
    { startTimeout: '20' },
  );
  const handle = await supervisor.spawner.spawn(config, 1).ready;
  assert.ok('port' in handle.target);
  const [args, forwarded] = JSON.parse(await get(handle.target)) as [string[], string];
  assert.deepStrictEqual(args, ['run', '--port', String(handle.target.port), '--production']);
  assert.strictEqual(forwarded, '1');
  handle.shutdown();
  assert.deepStrictEqual(await handle.exited, { code: 9, expected: true });
});

test('an app that writes without end is slowed down, not the core', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const flood =
    "const line = 'x\\n'.repeat(30000); const go = () => process.stdout.write(line, () => setImmediate(go)); go();";
  const handle = await supervisor.spawner.spawn(configOf(t, { 'app.js': `${HELLO} ${flood}` }), 1).ready;
  const before = process.cpuUsage();
  const since = performance.now();
  await eventually(10_000, 'lines are dropped', () =>
    supervisor.lines.some((line) => line.includes('PSG6010')),
  );
  const { user, system } = process.cpuUsage(before);
  assert.ok((user + system) / 1000 < (performance.now() - since) * 0.8, 'most of the time is ours');
  handle.signal('SIGKILL', true);
  assert.strictEqual((await handle.exited).signal, 'SIGKILL');
});
