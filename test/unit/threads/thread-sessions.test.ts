/** Sessions of gateway threads, with messages delivered in every order that can happen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertPool } from '../../../core/pool/invariants.js';
import { gatewayThreadCount } from '../../../core/threads/thread-count.js';
import { appConfig } from '../pool/pool-fixture.js';
import { ThreadedHouse } from './threads-fixture.js';

test('the first request goes by message; once a process is known, a session costs none', async () => {
  const house = new ThreadedHouse();
  await house.warm();
  const requests = house.threads.map((thread) => thread.ask(house.config));
  assert.ok(requests.every(({ session }) => session !== undefined));
  assert.equal(house.bench.group(house.config).serving[0]?.sessions, 2, 'the pool sees the sessions of all');
  for (const request of requests) request.close();
  assert.deepEqual(
    house.threads.map(({ toDesk }) => toDesk.length),
    [0, 0],
  );
  assert.equal(house.bench.group(house.config).serving[0]?.processed, 3);
});

test('threads spread their requests over the processes by the same rule as the pool', async () => {
  const house = new ThreadedHouse({ minInstances: '3' });
  await house.warm();
  await house.bench.advance(10);
  await house.settle();
  const targets = [0, 1, 0, 1, 0, 1].map((index) => {
    const { session } = house.thread(index).ask(house.config);
    return JSON.stringify(session?.target);
  });
  assert.equal(new Set(targets.slice(0, 3)).size, 3, 'least busy');
  for (const process of house.bench.group(house.config).serving) assert.equal(process.sessions, 2);
});

test('the limit of a process holds over all threads; who finds it full waits and is served by the other', async () => {
  const house = new ThreadedHouse({ forceMaxConcurrentRequestsPerProcess: '1', maxInstances: '1' });
  await house.warm();
  const first = house.thread(0).ask(house.config);
  const second = house.thread(1).ask(house.config);
  assert.ok(first.session !== undefined && second.session === undefined);
  await house.settle();
  assert.equal(house.bench.group(house.config).queue.size, 1);
  first.close();
  assert.equal(house.thread(0).toDesk.length, 1, 'somebody waits: the pool is told');
  await house.settle();
  assert.ok(second.session !== undefined);
});

test('the requests of all threads count for PassengerMaxRequests, and only the one that completes it costs a message', async () => {
  const house = new ThreadedHouse({ maxRequests: '5' });
  await house.warm();
  const before = house.bench.group(house.config).serving[0];
  const news = [0, 1, 0, 1].map((index) => {
    house.thread(index).ask(house.config).close();
    return house.thread(index).toDesk.length;
  });
  assert.deepEqual(news, [0, 0, 0, 1], 'the warm-up was the first');
  await house.settle();
  assert.equal(before?.state, 'exited');
  assert.equal(house.bench.group(house.config).serving.length, 1);
});

test('a slot that becomes free while a request is on its way to the queue is not lost', async () => {
  const house = new ThreadedHouse({ forceMaxConcurrentRequestsPerProcess: '1', maxInstances: '1' });
  await house.warm();
  const first = house.thread(0).ask(house.config);
  const second = house.thread(1).ask(house.config);
  first.close();
  assert.equal(house.thread(0).toDesk.length, 0, 'nobody waited yet');
  await house.settle();
  assert.ok(second.session !== undefined);
});

test('who waits goes first: a free slot is not taken past the queue', async () => {
  const house = new ThreadedHouse({ forceMaxConcurrentRequestsPerProcess: '1', maxInstances: '1' });
  await house.warm();
  const first = house.thread(0).ask(house.config);
  const waiting = house.thread(1).ask(house.config);
  house.thread(1).deliverToDesk();
  first.close();
  const late = house.thread(0).ask(house.config);
  assert.equal(late.session, undefined);
  await house.settle();
  assert.ok(waiting.session !== undefined && late.session === undefined);
  waiting.close();
  await house.settle();
  assert.ok(late.session !== undefined);
});

test('a request that is canceled while its session is on the way gives it back', async () => {
  const house = new ThreadedHouse({ forceMaxConcurrentRequestsPerProcess: '1', maxInstances: '1' });
  await house.warm();
  const first = house.thread(0).ask(house.config);
  const second = house.thread(1).ask(house.config);
  house.thread(1).deliverToDesk();
  first.close();
  house.thread(0).deliverToDesk();
  assert.equal(house.thread(1).toThread.length, 1, 'the session is on the way');
  second.ticket?.cancel();
  await house.settle();
  assert.equal(second.session, undefined);
  assert.equal(house.bench.group(house.config).serving[0]?.sessions, 0);
  assert.equal(house.thread(1).sessions.asking, 0);
});

test('a request that is canceled while it waits leaves the queue', async () => {
  const house = new ThreadedHouse({ forceMaxConcurrentRequestsPerProcess: '1', maxInstances: '1' });
  await house.warm();
  house.thread(0).ask(house.config);
  const second = house.thread(1).ask(house.config);
  await house.settle();
  second.ticket?.cancel();
  second.ticket?.cancel();
  await house.settle();
  assert.equal(house.bench.group(house.config).queue.size, 0);
  assert.equal(house.bench.group(house.config).book.waiting, 0);
});

test('after a restart no thread gets old code, also one that has not heard of it', async () => {
  const house = new ThreadedHouse();
  await house.warm();
  const old = house.thread(0).ask(house.config);
  house.bench.pool.restart(house.config.groupKey, 'test');
  const fresh = house.threads.map((thread) => thread.ask(house.config));
  assert.ok(fresh.every(({ session }) => session === undefined));
  await house.settle();
  const [oldProcess, newProcess] = house.bench.spawner.processes;
  for (const { session } of fresh) assert.deepEqual(session?.target, newProcess?.target);
  assert.deepEqual(oldProcess?.told, [], 'its request may finish');
  old.close();
  await house.settle();
  assert.deepEqual(oldProcess?.told, ['shutdown'], 'the last session that a thread closes ends the drain');
  assertPool(house.bench.pool, true);
});

test('a session that a thread takes in the moment of the drain is finished before the process ends', async () => {
  const house = new ThreadedHouse();
  await house.warm();
  const request = house.thread(1).ask(house.config);
  house.bench.pool.restart(house.config.groupKey, 'test');
  request.close();
  const [process] = house.bench.spawner.processes;
  assert.deepEqual(process?.told, [], 'the pool has not heard of it');
  await house.settle();
  assert.deepEqual(process?.told, ['shutdown']);
});

test('a look at the restart files that is due makes the next request of any thread ask', async () => {
  const house = new ThreadedHouse({}, { statThrottleRate: '10' });
  await house.warm();
  await house.bench.advance(9000);
  const early = house.thread(0).ask(house.config);
  assert.ok(early.session !== undefined);
  early.close();
  house.bench.files.touch('/srv/shop');
  house.bench.clock.advance(1500);
  const due = house.thread(1).ask(house.config);
  await house.settle();
  assert.deepEqual(due.session?.target, house.bench.spawner.processes[1]?.target, 'new code');
});

test('with StatThrottleRate 0 each request asks', async () => {
  const house = new ThreadedHouse({}, { statThrottleRate: '0' });
  await house.warm();
  house.bench.files.touch('/srv/shop');
  const request = house.thread(1).ask(house.config);
  await house.settle();
  assert.deepEqual(request.session?.target, house.bench.spawner.processes[1]?.target);
});

test('the first request of a new generation tells the pool its configuration, equal ones change nothing', async () => {
  const house = new ThreadedHouse({ redeployOnReload: 'off' });
  await house.warm();
  house.bench.pool.reload(house.bench.pool.server, 2);
  const same = house.thread(0).ask(house.config, { generation: 2 });
  assert.equal(same.session, undefined, 'a later generation than the confirmed one goes by message');
  await house.settle();
  assert.ok(same.session !== undefined);
  assert.equal(house.bench.logged('app is redeployed'), 0, 'a copy of the configuration is no change');
  assert.ok(house.thread(1).ask(house.config, { generation: 2 }).session !== undefined, 'the others know');
  house.bench.pool.reload(house.bench.pool.server, 3);
  house.thread(0).ask(appConfig('shop', { redeployOnReload: 'off', maxInstances: '2' }), { generation: 3 });
  await house.settle();
  assert.equal(house.bench.logged('app is redeployed'), 1);
});

test('a process that takes no connections is out of use in all threads at once', async () => {
  const house = new ThreadedHouse();
  await house.warm();
  const { session } = house.thread(0).ask(house.config);
  assert.ok(session !== undefined);
  house.thread(0).sessions.reportConnectFailure(session);
  session.close('app-failed');
  const others = house.threads.map((thread) => thread.ask(house.config));
  assert.ok(others.every((request) => request.session === undefined));
  await house.settle();
  assert.equal(house.bench.logged('PSG5011'), 1);
  for (const request of others) {
    assert.deepEqual(request.session?.target, house.bench.spawner.processes[1]?.target);
  }
});

test('sessions of a process that was killed are closed by the thread and disturb nobody', async () => {
  const house = new ThreadedHouse();
  await house.warm();
  const hit = house.thread(1).ask(house.config);
  house.bench.spawner.processes[0]?.exit();
  await house.bench.settle();
  const next = house.thread(0).ask(house.config);
  await house.settle();
  assert.deepEqual(next.session?.target, house.bench.spawner.processes[1]?.target);
  hit.close();
  await house.settle();
  assertPool(house.bench.pool, true);
});

test('the waiting requests of all threads count for PassengerMaxWaitingRequests', async () => {
  const single = { forceMaxConcurrentRequestsPerProcess: '1', maxInstances: '1' };
  const house = new ThreadedHouse(single, { maxWaitingRequests: '2' });
  await house.warm();
  const requests = [0, 1, 0, 1, 0].map((thread) => house.thread(thread).ask(house.config));
  await house.settle();
  const refused = (): number => requests.filter(({ failure }) => failure?.code === 'PSG5020').length;
  assert.equal(refused(), 2);
  requests[0]?.close();
  await house.settle();
  assert.equal(house.bench.pool.waitingTotal.count, 1);
  requests.push(house.thread(1).ask(house.config));
  await house.settle();
  assert.equal(refused(), 2, 'one has gone on');
});

test('a failure reaches the request of the thread with its number and details', async () => {
  const house = new ThreadedHouse();
  house.bench.spawner.knobs.failAt = 'loading';
  const request = house.thread(0).ask(house.config);
  await house.settle();
  assert.equal(request.failure?.code, 'PSG0001');
  assert.equal(request.failure?.details['step'], 'loading');
});

test('an idle process goes after its time, counted from the last session of any thread', async () => {
  const house = new ThreadedHouse({ minInstances: '0' }, { poolIdleTime: '60' });
  await house.warm();
  await house.bench.advance(50_000);
  await house.settle();
  const request = house.thread(1).ask(house.config);
  await house.settle();
  await house.bench.advance(30_000);
  assert.deepEqual(house.bench.spawner.processes[0]?.told, [], 'busy');
  request.close();
  await house.bench.advance(50_000);
  assert.deepEqual(house.bench.spawner.processes[0]?.told, [], 'not long enough');
  await house.bench.advance(11_000);
  assert.deepEqual(house.bench.spawner.processes[0]?.told, ['shutdown']);
});

test('a thread whose group was forgotten asks again, with the configuration', async () => {
  const house = new ThreadedHouse({ minInstances: '0' }, { poolIdleTime: '10', statThrottleRate: '1' });
  await house.warm();
  await house.bench.advance(11_000);
  // The request is on its way when the group goes; the thread does not know yet.
  const request = house.thread(1).ask(house.config);
  await house.bench.advance(40_000);
  await house.settle();
  assert.ok(request.session !== undefined, String(request.failure));
});

test('an app that starves gets the place of a process that a thread has made idle', async () => {
  const house = new ThreadedHouse({ minInstances: '0' }, { maxPoolSize: '1' });
  await house.warm();
  const busy = house.thread(0).ask(house.config);
  const other = house.thread(1).ask(appConfig('blog'));
  await house.settle();
  assert.equal(other.session, undefined);
  busy.close();
  await house.settle();
  assert.deepEqual(house.bench.spawner.processes[0]?.told, ['shutdown']);
  assert.ok(other.session !== undefined);
});

test('who holds a session of a thread hears that its process drains, unless it has closed it', async () => {
  const house = new ThreadedHouse();
  await house.warm();
  const heard: string[] = [];
  const [open, closed] = [0, 1].map((index) => house.thread(index).ask(house.config));
  open?.session?.onDrain(() => heard.push('open'));
  closed?.session?.onDrain(() => heard.push('closed'));
  closed?.close();
  house.bench.pool.restart(house.config.groupKey, 'test');
  open?.session?.onDrain(() => heard.push('late'));
  await house.settle();
  assert.deepEqual(heard.sort(), ['late', 'open']);
});

test('when the pool stops, threads finish their sessions and new requests are refused', async () => {
  const house = new ThreadedHouse();
  await house.warm();
  const last = house.thread(0).ask(house.config);
  const stopped = house.bench.pool.stop(10_000);
  const late = house.thread(1).ask(house.config);
  await house.settle();
  assert.equal(late.failure?.code, 'PSG5010');
  last.close();
  await house.settle();
  await stopped;
});

test('a session of a process with one slot does not keep its connection: another thread may want to connect', async () => {
  const house = new ThreadedHouse({ forceMaxConcurrentRequestsPerProcess: '1' });
  await house.warm();
  assert.equal(house.thread(0).ask(house.config).session?.keepConnection, false);
});

test('random requests, restarts and exits in random order of messages keep every rule', async () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    let state = seed * 7919;
    const random = (below: number): number => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((state / 2 ** 31) * below);
    };
    const house = new ThreadedHouse(
      { forceMaxConcurrentRequestsPerProcess: String(seed % 3), maxInstances: '3' },
      { maxPoolSize: '3', statThrottleRate: String(seed % 2) },
    );
    const configs = [house.config, appConfig('blog', { forceMaxConcurrentRequestsPerProcess: '1' })];
    const open: ReturnType<(typeof house.threads)[0]['ask']>[] = [];
    for (let step = 0; step < 300; step += 1) {
      const thread = house.thread(random(2));
      const act = random(12);
      if (act < 4) {
        const ids = [...house.bench.pool.groups()]
          .flatMap(({ serving }) => serving)
          .map((one) => one.stickyId);
        const sticky = { ids: [ids[random(ids.length + 1)] ?? 'gone'], session: `s${random(3)}` };
        const options = random(2) === 0 ? { generation: 1 } : { generation: 1, sticky };
        open.push(thread.ask(configs[random(2)] ?? house.config, options));
      } else if (act < 7) open.splice(random(open.length), 1).forEach(cancelOrClose);
      else if (act < 9) thread.deliverToDesk();
      else if (act === 9) thread.deliverToThread();
      else if (act === 10) await house.bench.advance(1 + random(700));
      else if (random(6) === 0) house.bench.pool.restart(house.config.groupKey, 'test');
      else if (random(8) === 0) house.bench.spawner.alive[0]?.exit();
    }
    for (let round = 0; open.length > 0 || round < 3; round += 1) {
      await house.settle();
      await house.bench.advance(5000);
      for (const request of open.splice(0)) cancelOrClose(request);
    }
    await house.settle();
    assertPool(house.bench.pool, true);
    for (const { sessions } of house.threads) assert.equal(sessions.asking, 0, `seed ${seed}`);
    for (const group of house.bench.pool.groups()) {
      for (const process of group.members) assert.equal(process.sessions, 0, `seed ${seed}`);
    }
  }
});

/** A canceled request whose session comes all the same gives it back by itself. */
function cancelOrClose(request: {
  close(): void;
  ticket: { cancel(): void } | undefined;
  session: unknown;
}): void {
  if (request.session === undefined) request.ticket?.cancel();
  else request.close();
}

test('a small machine has its gateway in the main thread, a large one half of its cores, at most eight', () => {
  assert.deepEqual(
    [1, 2, 3, 4, 6, 16, 64].map((cores) => gatewayThreadCount(0, cores)),
    [1, 1, 1, 2, 3, 8, 8],
  );
  assert.equal(gatewayThreadCount(2, 1), 2);
  assert.equal(gatewayThreadCount(1, 64), 1);
});
