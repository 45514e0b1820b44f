/** Requests that wait: order, leaving in constant time, deadlines with one timer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WaitingEntry, WaitingList } from '../../../core/pool/waiting-list.js';
import { FakeClock } from '../../support/fake-clock.js';

const WAITER = { onSession: () => undefined, onFailure: () => undefined };

function fixture(): {
  clock: FakeClock;
  list: WaitingList;
  late: number[];
  entry: (ms: number) => WaitingEntry;
} {
  const clock = new FakeClock();
  const late: number[] = [];
  const list = new WaitingList(clock, (entry) => late.push(entry.deadline - clock.now()));
  const entry = (ms: number): WaitingEntry => {
    const made = new WaitingEntry(WAITER, clock.now(), clock.now() + ms, () => undefined);
    list.add(made);
    return made;
  };
  return { clock, list, late, entry };
}

test('first come, first served, whoever leaves in between', () => {
  const { list, entry } = fixture();
  const [a, b, c, d] = [entry(1000), entry(1000), entry(1000), entry(1000)];
  list.remove(b);
  list.remove(d);
  assert.equal(list.size, 2);
  assert.equal(list.shift(), a);
  assert.equal(list.shift(), c);
  assert.equal(list.shift(), undefined);
});

test('an entry waits in one list only', () => {
  const { list, entry } = fixture();
  const waiting = entry(1000);
  assert.throws(() => list.add(waiting));
  list.remove(waiting);
  assert.throws(() => list.remove(waiting));
});

test('each entry expires at its own deadline, with one timer for all', () => {
  const { clock, list, late, entry } = fixture();
  entry(3000);
  entry(1000);
  entry(2000);
  assert.equal(clock.pending, 1);
  clock.advance(999);
  assert.deepEqual(late, []);
  clock.advance(1);
  assert.deepEqual(late, [0]);
  clock.advance(2000);
  assert.deepEqual(late, [0, 0, 0]);
  assert.equal(list.size, 0);
  assert.equal(clock.pending, 0);
});

test('an empty list has no timer', () => {
  const { clock, list, entry } = fixture();
  list.remove(entry(1000));
  assert.equal(clock.pending, 0);
  entry(1000);
  list.takeAll();
  assert.equal(clock.pending, 0);
});
