/** What the preload promises to the app around it: nothing but the socket looks different from `node app.js`. */
import assert from 'node:assert';
import { cpSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'node:test';
import { eventually } from '../../support/eventually.js';
import { ActivatedApp, LOADERS } from './activated-app.js';

const serve = (expression: string): string =>
  `require('http').createServer((req, res) => res.end(String(${expression}))).listen(3000);`;

test('the app is the main module and sees its own argv', async (t) => {
  const app = await (
    await ActivatedApp.start(t, serve('JSON.stringify([require.main === module, process.argv.slice(1)])'), {
      args: ['--port', '80'],
    })
  ).ready();
  const file = path.join(app.directory, 'app.cjs');
  assert.deepStrictEqual(JSON.parse(await app.get()), [true, [file, '--port', '80']]);
});

test('the process shows its app root as title', async (t) => {
  const app = await (await ActivatedApp.start(t, serve('process.title'))).ready();
  assert.ok(`Passenger NodeApp: ${app.directory}`.startsWith(await app.get()));
});

test('the loaders work from any directory, without their neighbours in the source tree', async (t) => {
  const loaders = await mkdtemp(path.join(tmpdir(), 'psg-loaders-'));
  t.after(() => rm(loaders, { recursive: true }));
  cpSync(LOADERS, loaders, { recursive: true });
  const app = await (await ActivatedApp.start(t, serve("'copied'"), { loaders })).ready();
  assert.strictEqual(await app.get(), 'copied');
});

test('the conversation is hello, loading, listening, ready, then reports', async (t) => {
  const app = await (await ActivatedApp.start(t, serve('1'))).ready();
  await eventually(10_000, 'a report', () => app.message('report'));
  const kinds = app.messages.map(({ type, step }) => (step === undefined ? type : step));
  assert.deepStrictEqual(kinds, ['hello', 'loading', 'listening', 'ready', 'report']);
  assert.strictEqual(app.message('hello')?.['pid'], app.child.pid);
  assert.strictEqual(app.message('ready')?.['concurrency'], 0);
  const report = app.message('report');
  assert.ok(typeof report?.['elu'] === 'number' && report['elu'] >= 0 && report['elu'] <= 1);
  assert.ok(Number(report['heapUsed']) > 0 && Number(report['rss']) > 0);
});

test('nothing of the activation reaches the app’s environment, children or worker threads', async (t) => {
  const source = `
    const { execFileSync, fork } = require('child_process');
    const { Worker } = require('worker_threads');
    const listing = execFileSync('/bin/sh', ['-c', 'env; ls -l /proc/self/fd']).toString();
    new Worker("require('worker_threads').parentPort.postMessage(typeof PhusionPassenger)", { eval: true })
      .on('message', (inWorker) => {
        fork(__filename.replace('app.cjs', 'child.cjs')).on('message', (inChild) => {
          const found = /LISTEN_|PASSENGER_APP_(ROOT|SOCKET)| (3|4) -> socket/.test(listing);
          ${serve('JSON.stringify({ found, inWorker, inChild })')}
        });
      });
    require('fs').writeFileSync(__filename.replace('app.cjs', 'child.cjs'),
      "require('http').createServer().listen(0, '127.0.0.1', function () {" +
      "process.send([typeof PhusionPassenger, typeof this.address().port]); this.close(); process.disconnect(); })");`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  assert.deepStrictEqual(JSON.parse(await app.get()), {
    found: false,
    inWorker: 'undefined',
    inChild: ['undefined', 'number'],
  });
});

test('an ES module with top-level await is ready when it listens, not before', async (t) => {
  const source = `
    import { createServer } from 'node:http';
    await new Promise((resolve) => setTimeout(resolve, 150));
    console.log('awaited');
    createServer((q, s) => s.end('esm')).listen({ port: 3000 });`;
  const app = await (await ActivatedApp.start(t, source, { name: 'app.mjs' })).ready();
  await app.printed('awaited');
  assert.strictEqual(await app.get(), 'esm');
});

test('connections look as if they came from the loopback address', async (t) => {
  const source = serve('[req.socket.remoteAddress, req.socket.remotePort, req.socket.remoteFamily]');
  const app = await (await ActivatedApp.start(t, source)).ready();
  assert.strictEqual(await app.get(), '127.0.0.1,0,IPv4');
});

test('idle connections stay open, whatever keepAliveTimeout the app sets, also past headersTimeout', async (t) => {
  const source = `
    const server = require('http').createServer({ connectionsCheckingInterval: 50 }, (req, res) => res.end('ok'));
    server.keepAliveTimeout = 100; server.headersTimeout = 300;
    server.on('connection', () => console.log('connection'));
    server.listen(3000, () => { server.keepAliveTimeout = 100; });`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  await app.get('/', agent);
  // The one fixed wait of this file: that something does not happen can only be waited for.
  await pause(1200);
  await app.get('/', agent);
  assert.strictEqual(app.stdout.match(/connection/g)?.length, 1);
});

test('the default request time-out does not end long uploads, and an app’s own stays', async (t) => {
  const app = await (await ActivatedApp.start(t, `const s = ${serve('s.requestTimeout')}`)).ready();
  assert.strictEqual(await app.get(), '0');
  const own = await (
    await ActivatedApp.start(
      t,
      `const s = require('http').createServer({ requestTimeout: 7000 }, (q, r) => r.end(String(s.requestTimeout))).listen(1);`,
    )
  ).ready();
  assert.strictEqual(await own.get(), '7000');
});

test('process.send("ready") of a PM2 app is accepted, and ready still means listening', async (t) => {
  const source = `
    process.send('ready'); process.send('ready', () => console.log('called'));
    setTimeout(() => { ${serve("'pm2'")} }, 100);`;
  const app = await ActivatedApp.start(t, source);
  await app.printed('called');
  assert.strictEqual(app.message('ready'), undefined);
  await app.ready();
  assert.strictEqual(await app.get(), 'pm2');
});

const FAILURES = [
  {
    what: 'a throw',
    name: 'app.cjs',
    source: "throw new Error('no database')",
    message: 'no database',
    code: 1,
  },
  {
    what: 'a throw of no error',
    name: 'app.cjs',
    source: "throw 'just text'",
    message: 'just text',
    code: 1,
  },
  {
    what: 'a rejection',
    name: 'app.cjs',
    source: "Promise.reject(new Error('later'))",
    message: 'later',
    code: 1,
  },
  { what: 'a syntax error', name: 'app.cjs', source: 'let let = 1', message: 'let is disallowed', code: 1 },
  {
    what: 'a missing module',
    name: 'app.cjs',
    source: "require('not-there')",
    message: "Cannot find module 'not-there'",
    code: 1,
  },
  {
    what: 'a throw in an ES module',
    name: 'app.mjs',
    source: "await 1; throw new Error('esm')",
    message: 'esm',
    code: 1,
  },
  {
    what: 'a missing import',
    name: 'app.mjs',
    source: "import 'not-there'",
    message: "Cannot find package 'not-there'",
    code: 1,
  },
];

for (const { what, name, source, message, code } of FAILURES) {
  test(`${what} while starting is told to the core and ends the app as Node ends it`, async (t) => {
    const app = await ActivatedApp.start(t, source, { name });
    assert.strictEqual((await app.exited()).code, code);
    const failed = await eventually(1000, 'failed message', () => app.message('failed'));
    assert.ok(String(failed['message']).includes(message), String(failed['message']));
    assert.ok(app.stderr.includes(message));
  });
}

test('an exception that the app handles itself changes nothing', async (t) => {
  const source = `process.on('uncaughtException', () => { ${serve("'survived'")} }); throw new Error('handled');`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  assert.strictEqual(await app.get(), 'survived');
});

test('an app that ends without listening ends at once: the loader keeps nothing alive', async (t) => {
  const app = await ActivatedApp.start(t, 'setTimeout(() => {}, 50)');
  assert.deepStrictEqual(await app.exited(), { code: 0, signal: null });
});

test('a missing control descriptor does not hurt the app', async (t) => {
  const app = await ActivatedApp.start(t, `require('fs').closeSync(4); ${serve("'alone'")}`);
  await eventually(10_000, 'answers', () =>
    app.get().then(
      (text) => text === 'alone',
      () => false,
    ),
  );
});
