/** Clients that send slowly, or leave without a word, hold neither a session of the app nor a worker for long. */
import assert from 'node:assert/strict';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { assertWithin } from '../support/patience.js';
import { RawClient, ask } from './client.js';
import { corePid, fdCount, rssKb, rule } from './kit.js';

const MANY = 200;
/** Workers for all the slow ones and some more; an app may hold three quarters of them. */
const WORKERS = [
  'StartServers 8',
  'ServerLimit 8',
  'ThreadsPerChild 50',
  'MinSpareThreads 50',
  'MaxSpareThreads 400',
  'MaxRequestWorkers 400',
].join('\n');
/** One request at a time in one process: a slow client that held a session would stop everybody. */
const ONE_SESSION = 'PassengerForceMaxConcurrentRequestsPerProcess 1';

async function areServed(apache: Apache, turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) {
    const begun = performance.now();
    const answer = await ask(apache.port, 'a.test', '/');
    assert.equal(answer.text, 'hello, probe', `${answer.status} ${answer.failure}`);
    assertWithin(begun, 3000, 'an answer');
  }
}

/** `MANY` connections that send `head` and then a byte each 100 ms. */
async function slowly(port: number, head: string): Promise<{ clients: RawClient[]; stop: () => void }> {
  const clients = await Promise.all(Array.from({ length: MANY }, () => RawClient.open(port)));
  for (const client of clients) client.send(head);
  const timer = setInterval(() => {
    for (const client of clients) if (!client.ended && client.socket.writable) client.send('x');
  }, 100);
  const stop = (): void => {
    clearInterval(timer);
    for (const client of clients) client.close();
  };
  return { clients, stop };
}

rule(
  '200 slow bodies hold no session of a one-at-a-time app, and no memory',
  { timeoutMs: 120_000 },
  async (scene) => {
    const { apache } = await scene.serve('probe', ONE_SESSION, {
      server: `${WORKERS}\nPassengerMaxPoolSize 1`,
    });
    await areServed(apache, 1);
    const core = corePid(apache);
    const before = { memory: rssKb(core), descriptors: fdCount(core) };
    const attack = await slowly(
      apache.port,
      'POST /sha HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n',
    );
    await eventually(
      20_000,
      'all of them are in the core',
      () => fdCount(core) >= before.descriptors + MANY - 20,
    );
    await areServed(apache, 20);
    assert.ok(rssKb(core) - before.memory < 60_000, `${before.memory} to ${rssKb(core)} KB`);
    attack.stop();
    await areServed(apache, 1);
  },
);

rule('slow bodies and slow heads are ended by mod_reqtimeout', { timeoutMs: 120_000 }, async (scene) => {
  const { apache } = await scene.serve('probe', ONE_SESSION, {
    modules: ['reqtimeout'],
    server: `${WORKERS}\nRequestReadTimeout header=2 body=2\nPassengerMaxPoolSize 1`,
  });
  await areServed(apache, 1);
  for (const head of [
    'POST /sha HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n',
    'POST /sha HTTP/1.1\r\nHost: a.test\r\nX-Slow: ',
  ]) {
    const attack = await slowly(apache.port, head);
    await areServed(apache, 5);
    await eventually(15_000, 'Apache has closed them', () => attack.clients.every(({ ended }) => ended));
    for (const { text } of attack.clients) assert.match(text, /^(HTTP\/1\.1 408 |$)/);
    attack.stop();
  }
  await areServed(apache, 1);
});

rule('a client that leaves is noticed, whatever it sent behind its request', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  await areServed(apache, 1);
  const open = async (): Promise<number> =>
    (await ask(apache.port, 'a.test', '/aborted')).json<{ open: number }>().open;
  for (const behind of ['', 'x', 'GET / HTTP/1.1\r\nHost: a.test\r\n\r\n']) {
    const client = await RawClient.open(apache.port);
    client.send(`GET /hang HTTP/1.1\r\nHost: a.test\r\n\r\n${behind}`);
    await eventually(3000, 'the app has the request', async () => (await open()) === 1);
    client.close();
    await eventually(1500, 'the app was told', async () => (await open()) === 0);
  }
});
