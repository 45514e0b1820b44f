/**
 * The rules at the head of pool.ts and app-group.ts as assertions. Tests run them after each change, before anybody
 * hears of it; they are too dear for each request in production.
 *
 * With gateway threads, news of a closed session may be on the way; what follows from it holds when it has come.
 */
import assert from 'node:assert';
import type { AppGroup } from './app-group.js';
import { occupies } from './app-process.js';
import type { Pool } from './pool.js';

/** @param current whether the pool has heard of all that happened in other threads */
export function assertPool(pool: Pool, current = pool.audience === undefined): void {
  let occupied = 0;
  let substitutes = 0;
  let waiting = 0;
  const { starving } = pool.hungry;
  for (const group of pool.groups()) {
    assertGroup(group, pool, current);
    waiting += group.queue.size + group.held;
    for (const process of group.members) occupied += Number(occupies(process.state));
    for (const process of group.members) {
      substitutes += Number(process.ahead && process.state === 'starting');
    }
  }
  assert.equal(pool.waitingTotal.count, waiting, 'the count of those who wait is right');
  assert.equal(pool.capacityUsed, occupied, 'the count of occupied places is right');
  const kept = occupied <= pool.server.maxPoolSize + substitutes || pool.hungry.shrinking;
  assert(kept, 'pool rule 1: room');
  for (const group of starving.keys()) {
    assert(!pool.hungry.isShort(group), 'a group is starving or short, not both');
    assert(
      group.queue.size > 0 && group.serving.length === 0,
      'only who has requests and nothing else starves',
    );
    assert(!group.retired, 'a retired group wants nothing');
  }
  if (starving.size > 0 && current) {
    for (const group of pool.groups()) {
      const idle = group.serving.some((process) => process.sessions === 0);
      assert(!idle, 'pool rule 2: nobody starves while a process is idle');
    }
  }
}

function assertGroup(group: AppGroup, pool: Pool, current: boolean): void {
  const ready = [...group.members].filter((process) => process.state === 'ready');
  assert.equal(group.serving.length, ready.length, 'group rule 1: serving are the ready processes');
  for (const process of group.serving) assert(ready.includes(process), 'group rule 1: serving are ready');
  for (const process of group.members) {
    assert(process.state !== 'exited', 'a process that has exited is no member');
    assert(process.sessions >= 0, 'sessions are counted');
    if (process.concurrency > 0) assert(process.sessions <= process.concurrency, 'concurrency is kept');
    if (process.state === 'ready' && current) {
      assert(!process.book.reached, 'who has reached PassengerMaxRequests is replaced');
    }
    if (process.state === 'ready') continue;
    assert(process.closed || process.state === 'starting', 'only ready processes take sessions');
    if (process.state === 'draining' && current) {
      assert(process.sessions > 0, 'group rule 5: draining has work left');
    }
  }
  assertWaiting(group, pool, current);
  if (!pool.adopting) {
    const { maxInstances } = group.limits;
    const allowed = maxInstances === 0 || group.retired || group.serving.length <= maxInstances;
    assert(allowed, 'group rule 8: PassengerMaxInstances');
    assertDeployment(group, pool);
  }
  assertMinimum(group, pool);
}

function assertWaiting(group: AppGroup, pool: Pool, current: boolean): void {
  assert.equal(group.book.waiting, group.queue.size, 'threads know who waits');
  if (group.queue.size === 0) return;
  for (const process of group.queue.wanted) {
    assert(group.serving.includes(process), 'group rule 2: who waits for one process alone has it');
    assert(process.full || !current, 'group rule 2: nobody waits for a process that has a free slot');
  }
  const free = group.queue.anyone.size === 0 ? undefined : pool.choose(group.serving);
  assert(free === undefined || !current, 'group rule 2: nobody waits while a process has a free slot');
  const hope = group.serving.length > 0 || group.starting > 0 || pool.hungry.starving.has(group);
  assert(hope, 'group rule 3: who waits has something to wait for');
  const failing = group.paused && group.serving.length === 0 && group.starting === 0;
  assert(!failing, 'group rule 7: nobody waits during a pause with nothing running');
}

function assertDeployment(group: AppGroup, pool: Pool): void {
  const { worn, serving, deployment } = group;
  const starts = [...group.members].filter((process) => process.state === 'starting');
  const fresh = serving.some((process) => process.code === group.code);
  for (const process of group.members) assert(process.code <= group.code, 'no process is ahead of its group');
  assert.equal(
    worn.length > 0,
    deployment !== 'settled',
    'deployment rule 2: settled means that nothing is worn',
  );
  assert(
    starts.filter((process) => process.ahead).length <= 1,
    'deployment rule 3: one substitute at a time',
  );
  if (deployment === 'trial') {
    assert(!fresh, 'deployment rule 2: the trial ends with the first process of the new code');
  }
  if (deployment === 'resisting') {
    const tried = starts.some((process) => process.code === group.code);
    assert(!fresh && !tried, 'deployment rule 2: code that is resisted is not started');
  } else if (worn.length > 0 && !group.retired) {
    const onTheWay = starts.length > 0 || group.paused || pool.hungry.isShort(group);
    assert(onTheWay, 'deployment rule 2: what is worn is replaced');
  }
}

function assertMinimum(group: AppGroup, pool: Pool): void {
  if (group.retired || pool.adopting || group.paused || group.deployment === 'resisting') return;
  const { minInstances, maxInstances } = group.limits;
  const least = maxInstances > 0 ? Math.min(minInstances, maxInstances) : minInstances;
  const enough = group.serving.length + group.starting >= least;
  const onTheWay = group.starting > 0 || pool.hungry.starving.has(group) || pool.hungry.isShort(group);
  assert(enough || onTheWay, 'pool rule 3: the minimum is kept');
}
