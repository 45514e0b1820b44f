/** How an app ends when the core asks: by what it has prepared for, in Passenger's order. */
import assert from 'node:assert';
import http from 'node:http';
import { test } from 'node:test';
import { eventually } from '../../support/eventually.js';
import { ActivatedApp } from './activated-app.js';

const SERVER = "const server = require('http').createServer((req, res) => res.end('ok')).listen(3000);";
const PASSENGER = "PhusionPassenger.on('exit', () => { console.log('exit event'); process.exit(3); });";
const PM2 = "process.on('message', (m) => { console.log('message ' + m); process.exit(4); });";
const SIGTERM = "process.on('SIGTERM', () => { console.log('SIGTERM'); process.exit(5); });";

const ORDER = [
  {
    what: 'the exit event of PhusionPassenger comes first',
    handlers: PASSENGER + PM2 + SIGTERM,
    code: 3,
    says: 'exit event',
  },
  { what: 'then the message "shutdown" of PM2', handlers: PM2 + SIGTERM, code: 4, says: 'message shutdown' },
  { what: 'then SIGTERM', handlers: SIGTERM, code: 5, says: 'SIGTERM' },
  { what: 'an app without handlers exits with 0', handlers: '', code: 0, says: '' },
];

for (const { what, handlers, code, says } of ORDER) {
  test(`on shutdown: ${what}`, async (t) => {
    const app = await (await ActivatedApp.start(t, SERVER + handlers)).ready();
    app.shutdown();
    assert.strictEqual((await app.exited()).code, code);
    assert.strictEqual(app.stdout.trim(), says);
  });
}

test('when core and supervisor are both gone the app ends by the same rules', async (t) => {
  const app = await (await ActivatedApp.start(t, SERVER + PASSENGER)).ready();
  app.control.destroy();
  assert.strictEqual((await app.exited()).code, 3);
});

test('a request to shut down comes once, however often it is sent', async (t) => {
  const source = `${SERVER} PhusionPassenger.on('exit', () => { console.log('asked'); setTimeout(() => process.exit(0), 200); });`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  app.shutdown();
  app.shutdown();
  app.control.end();
  await app.exited();
  assert.strictEqual(app.stdout.trim(), 'asked');
});

test('an app without handlers finishes the request that it has, then exits', async (t) => {
  const source = `
    require('http').createServer((req, res) => {
      res.write('first ');
      process.once('finish-now', () => res.end('last'));
      console.log('in hand');
    }).listen(3000);
    setInterval(() => {}, 1000);
    const { existsSync } = require('fs');
    setInterval(() => existsSync('go') && process.emit('finish-now'), 20);`;
  const app = await (await ActivatedApp.start(t, source)).ready();
  const agent = new http.Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const answer = app.get('/', agent);
  await app.printed('in hand');
  app.shutdown();
  const { writeFileSync } = await import('node:fs');
  writeFileSync(`${app.directory}/go`, '');
  assert.strictEqual(await answer, 'first last');
  assert.strictEqual((await app.exited()).code, 0);
});

test('garbage on the control connection is ignored', async (t) => {
  const app = await (await ActivatedApp.start(t, SERVER)).ready();
  app.control.write(`\n{]\n"text"\nnull\n[]\n{"type":"unknown"}\n${'x'.repeat(200_000)}\n`);
  assert.strictEqual(await app.get(), 'ok');
  app.shutdown();
  assert.strictEqual((await app.exited()).code, 0);
});

test('an app that is asked while it is still loading exits at once', async (t) => {
  const app = await ActivatedApp.start(t, "setInterval(() => {}, 1000); console.log('loading');");
  await eventually(10_000, 'starts', () => app.stdout.includes('loading'));
  app.shutdown();
  assert.strictEqual((await app.exited()).code, 0);
});
