/** Which process gets a request, and how many at a time: the choice of the pool with real processes. */
import assert from 'node:assert/strict';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { ask, type Answer } from './client.js';
import { rule, type Scene } from './kit.js';
import { onlyGroup, openSessions, servingPids } from './pool-view.js';

const ONE_AT_A_TIME = 'PassengerForceMaxConcurrentRequestsPerProcess 1\nPassengerMaxInstances 1';

async function two(scene: Scene): Promise<Apache> {
  const { apache } = await scene.serve('probe', 'PassengerMinInstances 2\nPassengerMaxInstances 2');
  await ask(apache.port, 'a.test', '/');
  await eventually(20_000, 'two processes', async () => (await servingPids(apache)).length === 2);
  return apache;
}

/** Pids that answer `count` requests, one after the other. */
async function answering(apache: Apache, count: number): Promise<string[]> {
  const pids: string[] = [];
  for (let turn = 0; turn < count; turn += 1) pids.push((await ask(apache.port, 'a.test', '/pid')).text);
  return pids;
}

rule('the least busy process is chosen; ties go to the one used least recently', {}, async (scene) => {
  const apache = await two(scene);
  const [one, other, ...rest] = await answering(apache, 6);
  assert.notEqual(one, other, 'low traffic is spread');
  assert.deepEqual(rest, [one, other, one, other]);
  const away = new AbortController();
  const hanging = ask(apache.port, 'a.test', '/hang', { signal: away.signal });
  await eventually(5000, 'it is under way', async () => (await openSessions(apache)) === 1);
  const { processes } = await onlyGroup(apache);
  const idle = processes.find(({ sessions }) => sessions === 0)?.pid;
  assert.deepEqual(new Set(await answering(apache, 5)), new Set([String(idle)]));
  away.abort();
  await hanging;
});

for (const [kind, lines] of [
  ['a Node app', ''],
  ['a program that says nothing of itself', 'PassengerAppStartCommand "node app.js"'],
] as const) {
  rule(`one process of ${kind} takes any number of requests at once`, {}, async (scene) => {
    const { apache } = await scene.serve('probe', lines);
    await ask(apache.port, 'a.test', '/');
    const all = Promise.all(Array.from({ length: 20 }, () => ask(apache.port, 'a.test', '/slow?ms=1500')));
    await eventually(10_000, 'all at once', async () => (await openSessions(apache)) === 20);
    for (const { status } of await all) assert.equal(status, 200);
    assert.equal((await onlyGroup(apache)).processes.length, 1);
  });
}

rule(
  'a session lasts until its answer is complete, and those who wait are served in their order',
  {},
  async (scene) => {
    const { apache } = await scene.serve('probe', ONE_AT_A_TIME);
    await ask(apache.port, 'a.test', '/');
    const order: string[] = [];
    const note = (name: string, answer: Promise<Answer>): Promise<void> =>
      answer.then(({ status }) => void order.push(`${name} ${status}`));
    const all = [note('events', ask(apache.port, 'a.test', '/sse?n=6&ms=200'))];
    await eventually(5000, 'events flow', async () => (await openSessions(apache)) === 1);
    for (let n = 1; n <= 3; n += 1) {
      all.push(note(String(n), ask(apache.port, 'a.test', '/slow?ms=50')));
      await eventually(5000, `${n} wait`, async () => (await onlyGroup(apache)).waiting === n);
    }
    await Promise.all(all);
    assert.deepEqual(order, ['events 200', '1 200', '2 200', '3 200']);
  },
);
