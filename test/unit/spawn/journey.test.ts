/** The journey blames the step that was under way. */
import assert from 'node:assert';
import { test } from 'node:test';
import { Journey } from '../../../core/spawn/journey.js';
import { FakeClock } from '../../support/fake-clock.js';

test('each step takes until the next begins, and the last is blamed for a failure', () => {
  const clock = new FakeClock();
  const journey = new Journey(clock);
  journey.begin('prepare');
  clock.advance(2);
  journey.begin('fork');
  clock.advance(5);
  journey.begin('loading');
  clock.advance(40);
  assert.strictEqual(journey.text(), 'prepare 2 ms, fork 5 ms, loading under way for 40 ms');
  journey.fail();
  clock.advance(100);
  assert.strictEqual(journey.text(), 'prepare 2 ms, fork 5 ms, loading failed after 40 ms');
  assert.deepStrictEqual([journey.step, journey.totalMs], ['loading', 47]);
});

test('a journey never goes back, whatever an app claims', () => {
  const journey = new Journey(new FakeClock());
  journey.begin('listening');
  journey.begin('loading');
  assert.strictEqual(journey.step, 'listening');
});

test('a finished journey stays as it is', () => {
  const clock = new FakeClock();
  const journey = new Journey(clock);
  journey.begin('boot');
  clock.advance(3);
  journey.finish();
  clock.advance(3);
  journey.fail();
  assert.strictEqual(journey.text(), 'boot 3 ms, ready 0 ms');
});
