/** Whatever way an app calls listen, its first HTTP server gets the inherited socket, once. */
import assert from 'node:assert';
import { test } from 'node:test';
import { ActivatedApp } from './activated-app.js';

/** The arguments as the app's source text has them; `cb` counts its calls. */
const FORMS = [
  '()',
  '(cb)',
  '(0)',
  '(3000)',
  '("41116")',
  '(3000, cb)',
  '("3000", cb)',
  '(3000, "127.0.0.1")',
  '(3000, "0.0.0.0", cb)',
  '(3000, "localhost", cb)',
  '(3000, undefined, cb)',
  '(undefined, cb)',
  '(null, cb)',
  '(3000, 128, cb)',
  '(3000, "127.0.0.1", 128, cb)',
  '({ port: 3000 })',
  '({ port: 3000, host: "127.0.0.1" }, cb)',
  '({ port: 3000, host: "::", ipv6Only: true, exclusive: true }, cb)',
  '({ path: "/nonexistent/directory/x.sock" }, cb)',
  '({ port: 3000, signal: new AbortController().signal }, cb)',
  '("/nonexistent/directory/x.sock", cb)',
  '("passenger")',
  '("passenger", cb)',
  '("/passenger", cb)',
  '({ path: "passenger" }, cb)',
  '({ path: "/passenger" }, cb)',
  '({ fd: 3 }, cb)',
  '(99999, cb)',
];

const BODY = `
let calls = 0, events = 0;
const cb = function () { calls += 1; };
const server = http.createServer((req, res) => {
  res.end(JSON.stringify({ calls, events, address: server.address(), listening: server.listening }));
});
server.on('listening', () => { events += 1; });
const result = server.listen`;

const KINDS = [
  { kind: 'CommonJS', name: 'app.cjs', head: "const http = require('node:http');" },
  { kind: 'an ES module', name: 'app.mjs', head: "import http from 'http'; await Promise.resolve();" },
];

for (const { kind, name, head } of KINDS) {
  for (const form of FORMS) {
    test(`listen${form} in ${kind} serves on the inherited socket`, async (t) => {
      const source = `${head}${BODY}${form};\nif (result !== server) throw new Error('listen must return the server');`;
      const app = await ActivatedApp.start(t, source, { name });
      await app.ready();
      assert.deepStrictEqual(JSON.parse(await app.get()), {
        calls: form.includes('cb') ? 1 : 0,
        events: 1,
        address: app.socketPath,
        listening: true,
      });
      assert.strictEqual(app.messages.filter(({ type }) => type === 'ready').length, 1);
    });
  }
}

test('a listen on a handle that the app made is redirected as well', async (t) => {
  const source = `
    const net = require('net');
    const made = net.createServer().listen(0, '127.0.0.1', () => {
      require('http').createServer((req, res) => res.end('handle')).listen(made);
    });`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  assert.strictEqual(await app.get(), 'handle');
});

test('later listens and raw servers go where the app says', async (t) => {
  const source = `
    const http = require('http'), net = require('net');
    const raw = net.createServer((s) => s.end('raw')).listen(0, '127.0.0.1', () => {
      http.createServer((req, res) => {
        const second = http.createServer().listen(0, '127.0.0.1', () => {
          res.end(JSON.stringify([raw.address().port > 0, second.address().port > 0]));
        });
      }).listen(3000);
    });`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  assert.strictEqual(await app.get(), '[true,true]');
});

test('an address in use on a second listen stays the app’s own error', async (t) => {
  const source = `
    const http = require('http');
    const taken = require('net').createServer().listen(0, '127.0.0.1', () => {
      let seen = 'none';
      http.createServer((req, res) => res.end(seen)).listen(3000, () => {
        http.createServer().on('error', (e) => { seen = e.code; console.log('seen'); }).listen(taken.address().port, '127.0.0.1');
      });
    });`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  await app.printed('seen');
  assert.strictEqual(await app.get(), 'EADDRINUSE');
});

test('with autoInstall off only listen("passenger") gets the socket', async (t) => {
  const source = `
    PhusionPassenger.configure({ autoInstall: false });
    const http = require('http');
    const own = http.createServer().listen(0, '127.0.0.1', () => {
      http.createServer((req, res) => res.end(String(own.address().port > 0))).listen('passenger');
    });`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  assert.strictEqual(await app.get(), 'true');
});

test('with autoInstall off a raw server may take the socket by name', async (t) => {
  const source = `
    PhusionPassenger.configure({ autoInstall: false });
    const http = require('http').createServer((req, res) => res.end('multiplexed'));
    require('net').createServer((s) => http.emit('connection', s)).listen('/passenger');`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  assert.strictEqual(await app.get(), 'multiplexed');
});

test('a second listen("passenger") fails with a sentence instead of making a file of that name', async (t) => {
  const source = `
    const http = require('http');
    http.createServer().listen('passenger', () => http.createServer().listen('passenger'));`;
  const app = await ActivatedApp.start(t, source);
  assert.strictEqual((await app.exited()).code, 1);
  assert.match(app.stderr, /already listens on 'passenger'/);
});

test('a server with TLS is left alone and the core hears why the app is not ready', async (t) => {
  const source = "require('https').createServer().listen(0, '127.0.0.1', () => console.log('up'));";
  const app = await ActivatedApp.start(t, source);
  await app.printed('up');
  assert.match(String(app.message('note')?.['message']), /HTTPS; TLS ends in Apache/);
  assert.strictEqual(app.message('ready'), undefined);
});

test('a server with HTTP/2 only is left alone, and a later plain server gets the socket', async (t) => {
  const source = `
    const other = require('http2').createServer().listen(0, '127.0.0.1', () => {
      require('http').createServer((req, res) => res.end(typeof other.address().port)).listen(80);
    });`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  assert.strictEqual(await app.get(), 'number');
  assert.match(String(app.message('note')?.['message']), /HTTP\/2/);
});

test('a server that is not of class http.Server but has request listeners gets the socket', async (t) => {
  const source = `
    const server = require('net').createServer((s) => s.once('data', () => s.end('HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nown')));
    server.on('request', () => {});
    server.listen(8080);`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  assert.strictEqual(await app.get(), 'own');
});

test('the workers of a clustered app serve over the one socket of their primary', async (t) => {
  const source = `
    const cluster = require('cluster'), http = require('http');
    if (cluster.isPrimary) { cluster.fork(); cluster.fork(); }
    else {
      const server = http.createServer((req, res) => res.end(JSON.stringify(
        [process.pid, req.socket.remoteAddress, typeof server.address(), server.keepAliveTimeout])));
      server.listen(3000);
    }`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  const [pid, ...looks] = JSON.parse(await app.get()) as unknown[];
  assert.notStrictEqual(pid, app.child.pid);
  assert.deepStrictEqual(looks, ['127.0.0.1', 'string', 0]);
});

test('a server that closes and listens again is then where the app says', async (t) => {
  const source = `
    const server = require('http').createServer();
    server.listen(3000, () => server.close(() => server.listen(0, '127.0.0.1', () => console.log(typeof server.address().port))));`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  await app.printed('number');
});
