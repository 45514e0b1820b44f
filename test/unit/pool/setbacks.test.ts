/** Failures in a row, as the group keeps them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PassengerError } from '../../../core/base/errors.js';
import { Log, LogThreshold } from '../../../core/base/log.js';
import { loggable, Setbacks } from '../../../core/pool/setbacks.js';
import { Turn } from '../../../core/pool/turn.js';
import { FakeClock } from '../../support/fake-clock.js';

function setbacks(clock: FakeClock): Setbacks {
  const log = new Log('pool', { write: () => undefined }, new LogThreshold(4));
  return new Setbacks({ clock, log, turn: new Turn(() => undefined), pauseMoved: () => undefined }, () => 0);
}

test('a start that was under way when a pause began does not take its reason away', () => {
  const clock = new FakeClock();
  const it = setbacks(clock);
  it.startFailed(new PassengerError('PSG5004'));
  it.started();
  assert.equal(it.paused, true);
  assert.equal(it.failure?.code, 'PSG5004', 'whoever comes while nothing runs is told why');
  clock.advance(1000);
  assert.equal(it.paused, false);
  it.started();
  assert.equal(it.failure, undefined);
});

test('the reason of a crash loop says how the last process ended', () => {
  const clock = new FakeClock();
  const it = setbacks(clock);
  let output = '';
  for (let crash = 0; crash < 3; crash += 1) {
    clock.advance(101);
    it.crashed(
      100.4,
      () => 'exit code 7',
      () => output,
    );
  }
  output = 'what it said last';
  const expected = { crashes: 3, end: 'exit code 7', livedMs: 100, lastOutput: 'what it said last' };
  assert.deepEqual({ ...it.failure?.details }, expected);
});

test('a line about a failed start has the whole place that the supervisor names, and no long output', () => {
  const detail = `app process could not be started path=/srv/${'a'.repeat(300)}`;
  const failure = new PassengerError('PSG5004', { detail, lastOutput: 'x'.repeat(300), pid: 7 });
  assert.deepEqual(loggable(failure), { detail, pid: 7 });
});
