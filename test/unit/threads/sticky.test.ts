/** Sticky sessions in gateway threads: what a thread knows itself, and what only the pool can say. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CheckoutOptions } from '../../../core/gateway/session-source.js';
import { assertPool } from '../../../core/pool/invariants.js';
import { ThreadedHouse, type ThreadRequest } from './threads-fixture.js';

/** Three ready processes that all threads know, and the sticky id of each. */
async function three(app: ConstructorParameters<typeof ThreadedHouse>[0] = {}): Promise<{
  house: ThreadedHouse;
  ids: string[];
}> {
  const house = new ThreadedHouse({ minInstances: '3', maxInstances: '3', ...app });
  await house.warm();
  await house.bench.advance(10);
  await house.settle();
  return { house, ids: house.bench.group(house.config).serving.map(({ stickyId }) => stickyId) };
}

const wish = (...ids: (string | undefined)[]): CheckoutOptions => ({
  generation: 1,
  sticky: { ids: ids.map(String) },
});

const ownerOf = ({ session }: ThreadRequest): string | undefined => session?.stickyId;

test('a sticky id that a thread knows costs no message and counts more than load', async () => {
  const { house, ids } = await three();
  for (const thread of house.threads) {
    for (let turn = 0; turn < 4; turn += 1) {
      assert.equal(thread.ask(house.config, wish('of-another-app', ids[1])).session?.stickyId, ids[1]);
    }
    assert.equal(thread.toDesk.length, 0);
  }
});

test('an id that a thread does not know is the answer of the pool: it may be newer than the news', async () => {
  const house = new ThreadedHouse({ forceMaxConcurrentRequestsPerProcess: '4', maxInstances: '2' });
  await house.warm();
  const full = Array.from({ length: 4 }, () => house.thread(0).ask(house.config));
  assert.ok(full.every(({ session }) => session !== undefined));
  house.thread(0).ask(house.config);
  house.thread(0).deliverToDesk();
  await house.bench.advance(10);
  const fresh = house.bench.group(house.config).serving[1]?.stickyId;
  full[0]?.close();
  const request = house.thread(1).ask(house.config, wish(fresh));
  assert.equal(request.session, undefined, 'thread 1 has not heard of the second process');
  await house.settle();
  assert.equal(ownerOf(request), fresh);
});

test('a busy process: the request of any thread waits for it, others go past', async () => {
  const { house, ids } = await three({ forceMaxConcurrentRequestsPerProcess: '1' });
  const busy = house.thread(0).ask(house.config, wish(ids[0]));
  const waiting = house.thread(1).ask(house.config, wish(ids[0]));
  await house.settle();
  const other = house.thread(0).ask(house.config);
  await house.settle();
  assert.ok(other.session !== undefined && waiting.session === undefined);
  assertPool(house.bench.pool, true);
  busy.close();
  await house.settle();
  assert.equal(ownerOf(waiting), ids[0]);
});

test('a stale id and a draining process: another one, at once', async () => {
  const { house, ids } = await three();
  const open = house.thread(0).ask(house.config, wish(ids[0]));
  assert.ok(open.session !== undefined);
  house.thread(0).sessions.reportConnectFailure(open.session);
  for (const id of ['never-given', ids[0]]) {
    const request = house.thread(1).ask(house.config, wish(id));
    await house.settle();
    assert.ok(request.session !== undefined);
    assert.notEqual(request.session.stickyId, ids[0]);
  }
});

test('a session without a cookie stays with its process, whichever thread its requests come to', async () => {
  const { house } = await three();
  const ask = async (index: number, session: string): Promise<string | undefined> => {
    const request = house.thread(index).ask(house.config, { generation: 1, sticky: { ids: [], session } });
    await house.settle();
    return request.session?.stickyId;
  };
  const owners = [await ask(0, 's1'), await ask(1, 's2'), await ask(0, 's3')];
  assert.equal(new Set(owners).size, 3);
  for (const index of [1, 0, 1]) {
    assert.deepEqual([await ask(index, 's1'), await ask(index, 's2'), await ask(index, 's3')], owners);
  }
});
