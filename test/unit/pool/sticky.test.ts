/** Sticky sessions: which process gets a request that names one, and who waits for whom when that one is busy. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AppConfig } from '../../../core/config/app-config.js';
import { appConfig, Bench, type FakeRequest } from './pool-fixture.js';

/** A group with so many ready processes, and the sticky id of each. */
async function warm(bench: Bench, config: AppConfig): Promise<string[]> {
  (await bench.served(config)).close();
  await bench.advance(10);
  return bench.group(config).serving.map(({ stickyId }) => stickyId);
}

const three = (texts: Parameters<typeof appConfig>[1] = {}): AppConfig =>
  appConfig('shop', { minInstances: '3', maxInstances: '3', ...texts });

const wish = (...ids: (string | undefined)[]): { sticky: { ids: string[] } } => ({
  sticky: { ids: ids.map(String) },
});
const session = (name: string): { sticky: { ids: string[]; session: string } } => ({
  sticky: { ids: [], session: name },
});
const owner = (request: FakeRequest): string | undefined => request.session?.stickyId;

test('ids are unguessable and of their process alone, and do not contain its pid or key', async () => {
  const bench = new Bench();
  const ids = await warm(bench, three());
  assert.equal(new Set(ids).size, 3);
  for (const [index, id] of ids.entries()) {
    assert.match(id, /^[A-Za-z0-9_-]{16}$/);
    assert(!id.includes(String(1000 + index)));
  }
});

test('a sticky id matches a process: that process even if others are idler', async () => {
  const bench = new Bench();
  const config = three();
  const [, second] = await warm(bench, config);
  for (let turn = 0; turn < 10; turn += 1) assert.equal(owner(bench.request(config, wish(second))), second);
});

test('without a sticky id the least busy process is chosen', async () => {
  const bench = new Bench();
  const config = three();
  const [first, second, third] = await warm(bench, config);
  bench.request(config, wish(first));
  bench.request(config, wish(second));
  assert.equal(owner(bench.request(config)), third);
});

test('an unknown or stale id: the least busy process', async () => {
  const bench = new Bench();
  const config = three();
  const [first, second, third] = await warm(bench, config);
  bench.request(config, wish(first));
  bench.request(config, wish(third));
  assert.equal(owner(bench.request(config, wish('stale-id', 'other-stale-id'))), second);
});

test('of several ids the one that names a process of this app counts', async () => {
  const bench = new Bench();
  const config = three();
  const other = await warm(bench, appConfig('blog'));
  const [, , third] = await warm(bench, config);
  assert.equal(owner(bench.request(config, wish(other[0], 'nonsense', third))), third);
  assert.notEqual(owner(bench.request(config, wish(other[0]))), other[0]);
});

test('a totally busy process: the request waits for that process, others are served by the rest', async () => {
  const bench = new Bench();
  const config = three({ forceMaxConcurrentRequestsPerProcess: '1' });
  const [first] = await warm(bench, config);
  const busy = bench.request(config, wish(first));
  const waiting = bench.request(config, wish(first));
  const later = bench.request(config);
  await bench.settle();
  assert.equal(waiting.state, 'waiting');
  assert.equal(later.state, 'serving');
  later.close();
  assert.equal(waiting.state, 'waiting', 'another process is of no use');
  busy.close();
  assert.equal(owner(waiting), first);
});

test('requests for a busy process start no other', async () => {
  const bench = new Bench();
  const config = appConfig('shop', {
    minInstances: '2',
    maxInstances: '6',
    forceMaxConcurrentRequestsPerProcess: '1',
  });
  const [first] = await warm(bench, config);
  for (let turn = 0; turn < 20; turn += 1) bench.request(config, wish(first));
  await bench.settle();
  assert.equal(bench.spawner.attempts.length, 2);
});

test('who has waited longest is served first, whether any process will do or only one', async () => {
  const bench = new Bench();
  const config = appConfig('shop', { maxInstances: '1', forceMaxConcurrentRequestsPerProcess: '1' });
  const [only] = await warm(bench, config);
  const order: number[] = [];
  const busy = bench.request(config);
  const requests = [wish(only), {}, wish(only), {}].map((options) => {
    bench.clock.advance(1);
    return bench.request(config, options);
  });
  busy.close();
  for (let turn = 0; turn < 4; turn += 1) {
    const serving = requests.findIndex(({ state }, index) => state === 'serving' && !order.includes(index));
    order.push(serving);
    requests[serving]?.close();
  }
  assert.deepEqual(order, [0, 1, 2, 3]);
});

test('when the process leaves, those who waited for it are served by any, at their place in the line', async () => {
  const bench = new Bench();
  const config = three({ forceMaxConcurrentRequestsPerProcess: '1' });
  const [first, second, third] = await warm(bench, config);
  const held = [first, second, third].map((id) => bench.request(config, wish(id)));
  const mine = bench.request(config, wish(first));
  bench.clock.advance(1);
  const anyone = bench.request(config);
  bench.spawner.knobs.delayMs = undefined;
  bench.spawner.processes[0]?.exit();
  await bench.settle();
  assert.equal(mine.state, 'waiting', 'the others are busy');
  held[1]?.close();
  assert.equal(owner(mine), second, 'it came before the other');
  assert.equal(anyone.state, 'waiting');
  held[2]?.close();
  assert.equal(owner(anyone), third);
});

test('a process that leaves while others are idle: those who waited for it are served at once', async () => {
  const bench = new Bench();
  const config = three({ forceMaxConcurrentRequestsPerProcess: '1' });
  const [first] = await warm(bench, config);
  const busy = bench.request(config, wish(first));
  const waiting = [1, 2].map(() => bench.request(config, wish(first)));
  bench.spawner.knobs.delayMs = undefined;
  assert(busy.session !== undefined);
  bench.pool.reportConnectFailure(busy.session);
  assert.deepEqual(
    waiting.map(({ state }) => state),
    ['serving', 'serving'],
  );
});

test('a vanished process: the next request of its client is served at once by another', async () => {
  const bench = new Bench();
  const config = three();
  const [first] = await warm(bench, config);
  bench.spawner.knobs.delayMs = undefined;
  bench.spawner.processes[0]?.exit();
  await bench.settle();
  const request = bench.request(config, wish(first));
  assert.equal(request.state, 'serving');
  assert.notEqual(owner(request), first);
});

test('a draining process gets no new requests of its clients and finishes the old ones', async () => {
  const bench = new Bench();
  const config = three();
  const [first] = await warm(bench, config);
  const old = bench.request(config, wish(first));
  assert(old.session !== undefined);
  bench.pool.reportConnectFailure(old.session);
  const next = bench.request(config, wish(first));
  assert.equal(next.state, 'serving');
  assert.notEqual(owner(next), first);
  assert.deepEqual(bench.spawner.processes[0]?.told, []);
});

test('a restart: who waited for an old process waits for the new code', async () => {
  const bench = new Bench();
  const config = three({ forceMaxConcurrentRequestsPerProcess: '1' });
  const [first] = await warm(bench, config);
  bench.request(config, wish(first));
  const waiting = bench.request(config, wish(first));
  bench.pool.restart(config.groupKey, 'test');
  assert.equal(waiting.state, 'waiting', 'two old processes were idle, and it is not theirs');
  await bench.settle();
  assert.equal(waiting.session?.process.pid, 1003);
});

test('queue limits hold for requests that wait for one process: their number and their time', async () => {
  const bench = new Bench();
  const config = three({ forceMaxConcurrentRequestsPerProcess: '1', maxRequestQueueSize: '2' });
  const [first] = await warm(bench, config);
  bench.request(config, wish(first));
  const waiting = [1, 2].map(() => bench.request(config, { ...wish(first), maxQueueTimeMs: 3000 }));
  const refused = bench.request(config, wish(first));
  await bench.settle();
  assert.equal(refused.failure?.code, 'PSG5001');
  const other = await bench.served(config);
  assert.notEqual(owner(other), first, 'the list is full of those who wait for one alone');
  await bench.advance(3100);
  for (const request of waiting) assert.equal(request.failure?.code, 'PSG5002');
  assert.equal(bench.group(config).queue.size, 0);
});

test('a request that is canceled while it waits for its process leaves no trace', async () => {
  const bench = new Bench();
  const config = three({ forceMaxConcurrentRequestsPerProcess: '1' });
  const [first] = await warm(bench, config);
  const busy = bench.request(config, wish(first));
  const waiting = bench.request(config, wish(first));
  waiting.cancel();
  assert.deepEqual([...bench.group(config).queue.wanted], []);
  assert.equal(bench.clock.pending > 0, true);
  busy.close();
  assert.equal(waiting.session, undefined);
});

test('the server stops: who waits for one process is told, too', async () => {
  const bench = new Bench();
  const config = three({ forceMaxConcurrentRequestsPerProcess: '1' });
  const [first] = await warm(bench, config);
  bench.request(config, wish(first));
  const waiting = bench.request(config, wish(first));
  void bench.pool.stop(1000);
  await bench.settle();
  assert.equal(waiting.failure?.code, 'PSG5010');
});

test('a session without a cookie belongs to the process that served its first request', async () => {
  const bench = new Bench();
  const config = three();
  await warm(bench, config);
  const owners = ['s1', 's2', 's3'].map((name) => owner(bench.request(config, session(name))));
  assert.equal(new Set(owners).size, 3, 'the first request goes to the least busy');
  for (let turn = 0; turn < 3; turn += 1) {
    const again = ['s1', 's2', 's3'].map((name) => owner(bench.request(config, session(name))));
    assert.deepEqual(again, owners);
  }
});

test('a cookie counts more than the session in the URL; one that names nobody leaves the choice to it', async () => {
  const bench = new Bench();
  const config = three();
  const ids = await warm(bench, config);
  const first = owner(bench.request(config, session('s1')));
  const other = ids.find((id) => id !== first) ?? '';
  const both = bench.request(config, { sticky: { ids: [other], session: 's1' } });
  assert.equal(owner(both), other);
  const stale = bench.request(config, { sticky: { ids: ['stale-id'], session: 's1' } });
  assert.equal(owner(stale), first);
});

test('the session of a process that has gone gets another, and stays there', async () => {
  const bench = new Bench();
  const config = three();
  const ids = await warm(bench, config);
  const first = owner(bench.request(config, session('s1')));
  bench.spawner.processes[ids.indexOf(String(first))]?.exit();
  await bench.settle();
  const next = owner(bench.request(config, session('s1')));
  assert.notEqual(next, first);
  for (let turn = 0; turn < 5; turn += 1) assert.equal(owner(bench.request(config, session('s1'))), next);
});

test('two requests of a new session that wait for any process get the same one', async () => {
  const bench = new Bench();
  const config = appConfig('shop', {
    minInstances: '2',
    maxInstances: '2',
    forceMaxConcurrentRequestsPerProcess: '1',
  });
  const ids = await warm(bench, config);
  const held = ids.map((id) => bench.request(config, wish(id)));
  const poll = bench.request(config, session('s1'));
  const send = bench.request(config, session('s1'));
  held[0]?.close();
  assert.equal(owner(poll), ids[0]);
  held[1]?.close();
  assert.equal(send.state, 'waiting', 'the other process does not know the session');
  poll.close();
  assert.equal(owner(send), ids[0]);
});

test('sessions that nobody asks for make way for new ones', async () => {
  const bench = new Bench();
  const config = three();
  await warm(bench, config);
  const kept = owner(bench.request(config, session('kept')));
  for (let turn = 0; turn < 25_000; turn += 1) {
    bench.pool.checkout(
      config,
      { onSession: () => undefined, onFailure: () => undefined },
      session(`x${turn}`),
    );
    if (turn % 5000 !== 0) continue;
    assert.equal(owner(bench.request(config, session('kept'))), kept);
  }
});

test('an id survives the adoption of its process by another core', async () => {
  const bench = new Bench();
  const config = appConfig();
  const [before] = await warm(bench, config);
  const handle = bench.spawner.processes[0];
  assert(handle !== undefined);
  const next = new Bench();
  next.pool.adopt({ handle, config, generation: 1 });
  assert.equal(owner(next.request(config, wish(before))), before);
});
