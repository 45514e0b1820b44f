/** Which process gets the next request. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { busyness, choose, totallyBusy, type Candidate } from '../../../core/routing/choose.js';

const candidate = (sessions: number, turn: number, concurrency = 0): Candidate => ({
  sessions,
  turn,
  concurrency,
});

test('the least busy process is chosen', () => {
  const [a, b, c] = [candidate(3, 1), candidate(1, 9), candidate(2, 2)];
  assert.equal(choose([a, b, c]), b);
});

test('ties go to the process used least recently, wherever it stands', () => {
  const [a, b, c] = [candidate(1, 5), candidate(1, 2), candidate(1, 7)];
  assert.equal(choose([a, b, c]), b);
  assert.equal(choose([c, b, a]), b);
});

test('low traffic is spread over all processes', () => {
  const processes = [1, 2, 3].map((turn) => ({ sessions: 0, turn, concurrency: 0 }));
  const chosen = [4, 5, 6, 7, 8, 9].map((turn) => {
    const process = choose(processes);
    assert(process !== undefined);
    process.turn = turn;
    return processes.indexOf(process);
  });
  assert.deepEqual(chosen, [0, 1, 2, 0, 1, 2]);
});

test('a process at its limit is not chosen; unlimited ones never reach theirs', () => {
  assert.equal(totallyBusy(candidate(2, 1, 2)), true);
  assert.equal(totallyBusy(candidate(1_000_000, 1, 0)), false);
  assert.equal(choose([candidate(2, 1, 2), candidate(1, 1, 1)]), undefined);
  const free = candidate(1, 9, 2);
  assert.equal(choose([candidate(2, 1, 2), free]), free);
});

test('with a limit, busyness is the share of it that is used', () => {
  assert.equal(busyness(candidate(1, 1, 4)), 0.25);
  const roomy = candidate(2, 9, 8);
  assert.equal(choose([candidate(1, 1, 2), roomy]), roomy);
});

test('of no process none is chosen', () => {
  assert.equal(choose([]), undefined);
});

test('a suspect is chosen only where there is nobody else, then like any other', () => {
  const suspect = { ...candidate(0, 1), suspect: true };
  const busy = candidate(5, 9);
  assert.equal(choose([suspect, busy]), busy);
  assert.equal(choose([busy, suspect]), busy);
  assert.equal(choose([suspect, candidate(1, 1, 1)]), suspect, 'the other one is full');
  const worse = { ...candidate(2, 0), suspect: true };
  assert.equal(choose([worse, suspect]), suspect);
  assert.equal(choose([suspect, worse]), suspect);
});
