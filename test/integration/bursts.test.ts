/** Many at the same moment: connections that did not exist a moment ago, all the way from the clients to the app. */
import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.js';
import { RawClient, ask } from './client.js';
import { corePid, fdCount, rule } from './kit.js';
import { adminView } from './pool-view.js';

const BURST = 1000;

/** A worker for each of them, so that each needs a connection of its own to the core. */
const MANY_WORKERS = [
  'ThreadLimit 300',
  'ServerLimit 4',
  'StartServers 4',
  'ThreadsPerChild 300',
  'MaxRequestWorkers 1200',
  'MinSpareThreads 1',
  'MaxSpareThreads 1200',
  'ListenBacklog 2048',
  'PassengerMaxWorkerShare 95',
  'PassengerMaxPoolSize 1',
].join('\n');

rule('1,000 new connections at once: 1,000 answers', { timeoutMs: 120_000 }, async (scene) => {
  const { apache } = await scene.serve('probe', '', { server: MANY_WORKERS });
  await ask(apache.port, 'a.test', '/');
  const before = fdCount(corePid(apache));
  const { threads } = await adminView<{ readonly threads: readonly unknown[] }>(apache, '/gateway.json');
  const clients = await Promise.all(Array.from({ length: BURST }, () => RawClient.open(apache.port)));
  // Each answer takes a second, so that no connection to the core serves two of them.
  for (const client of clients)
    client.send('GET /slow?ms=1000 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n');
  await eventually(60_000, 'all have ended', () => clients.every(({ ended }) => ended));
  const count = new Map<string, number>();
  for (const { text } of clients) {
    const line = text.slice(0, text.indexOf('\r\n'));
    count.set(line, (count.get(line) ?? 0) + 1);
  }
  for (const client of clients) client.close();
  // Each child of Apache looks at what it has when it serves: connections that nobody needs are closed after ten seconds.
  await eventually(20_000, 'the connections of the burst are closed', async () => {
    await Promise.all(Array.from({ length: 20 }, () => ask(apache.port, 'a.test', '/slow?ms=20')));
    // To the app each gateway thread keeps 128 for half a minute.
    return fdCount(corePid(apache)) < before + 122 + 128 * threads.length;
  });
  await apache.graceful();
  await eventually(
    10_000,
    'those of the old children and processes, too',
    () => fdCount(corePid(apache)) < before + 60,
  );
  assert.deepEqual(Object.fromEntries(count), { 'HTTP/1.1 200 OK': BURST });
});
