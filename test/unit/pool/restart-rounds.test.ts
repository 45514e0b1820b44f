/** Looks at the restart files of groups that nobody asks for: everybody's turn comes, and no more than so many do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LOOKS_PER_SECOND, RestartRounds, type RoundMember } from '../../../core/pool/restart-rounds.js';
import { FakeClock } from '../../support/fake-clock.js';
import { simulateCalm } from '../../support/calm-simulation.js';
import { appConfig, Bench, serverSettings } from './pool-fixture.js';

const THROTTLE_MS = 10_000;

class Member implements RoundMember {
  awake = true;
  /** Times of its looks. */
  readonly looks: number[] = [];
  #last = -Infinity;

  constructor(
    private readonly clock: FakeClock,
    private readonly throttleMs = THROTTLE_MS,
  ) {}

  get due(): number {
    return this.#last + this.throttleMs;
  }
  /** Also what a request does. */
  look(): void {
    this.#last = this.clock.now();
    this.looks.push(this.#last);
  }
}

function house(count: number): { clock: FakeClock; rounds: RestartRounds; members: Member[] } {
  const clock = new FakeClock();
  const rounds = new RestartRounds(clock);
  const members = Array.from({ length: count }, () => new Member(clock));
  for (const member of members) {
    member.look();
    rounds.put(member);
  }
  return { clock, rounds, members };
}

const total = (members: readonly Member[]): number =>
  members.reduce((sum, { looks }) => sum + looks.length, 0);

test('few groups are looked at every StatThrottleRate', () => {
  const { clock, members } = house(20);
  clock.advance(100_500);
  for (const { looks } of members) assert.equal(looks.length, 1 + 10);
});

test('however many groups there are, so many looks are made in a second, and everybody has a turn', () => {
  const { clock, members } = house(2000);
  clock.advance(THROTTLE_MS + 1000);
  const before = total(members);
  clock.advance(100_000);
  const looks = total(members) - before;
  assert.ok(looks <= 100 * LOOKS_PER_SECOND + 5 && looks > 98 * LOOKS_PER_SECOND, `${looks} looks`);
  for (const member of members) {
    const [, second = Infinity, third = Infinity] = member.looks;
    assert.ok(
      third - second <= 2000 * (1000 / LOOKS_PER_SECOND) + 1000,
      'in the order in which they fall due',
    );
  }
});

test('whom requests make look is not looked at besides, and takes nobody’s turn', () => {
  const { clock, members } = house(600);
  const asked = members.slice(0, 300);
  for (let second = 0; second < 60; second += 1) {
    clock.advance(1000);
    if (second % 5 === 0) for (const member of asked) member.look();
  }
  for (const { looks } of asked) assert.equal(looks.length, 1 + 12);
  for (const { looks } of members.slice(300)) assert.ok(looks.length >= 5);
});

test('who is not awake leaves the rounds, and comes back when it is', () => {
  const { clock, rounds, members } = house(2);
  const [one, other] = members;
  assert.ok(one !== undefined && other !== undefined);
  one.awake = other.awake = false;
  clock.advance(60_000);
  assert.equal(clock.pending, 0, 'no timer is left');
  one.awake = true;
  rounds.put(one);
  clock.advance(2000);
  assert.deepEqual([one.looks.length, other.looks.length], [2, 1]);
  rounds.remove(one);
  assert.equal(clock.pending, 0);
});

test('to be awake once more puts nobody’s turn off', () => {
  const { clock, rounds, members } = house(1);
  const [member] = members;
  assert.ok(member !== undefined);
  for (let second = 0; second < 11; second += 1) {
    clock.advance(1000);
    rounds.put(member);
  }
  assert.equal(member.looks.length, 2);
});

test('a shorter StatThrottleRate counts from the reload on, also for apps without traffic', async () => {
  const bench = new Bench({ statThrottleRate: '3600' });
  (await bench.served(appConfig())).close();
  bench.files.touch('/srv/shop');
  await bench.advance(20_000);
  assert.equal(bench.spawner.attempts.length, 1);
  bench.pool.reload(serverSettings({ statThrottleRate: '10' }), 1);
  await bench.advance(2500);
  assert.equal(bench.spawner.attempts.length, 2);
});

test('apps with processes and without requests cost no timers and looks of their own', async () => {
  const few = await simulateCalm(500);
  const many = await simulateCalm(2000);
  assert.deepEqual([few.groups, many.groups], [500, 2000]);
  assert.ok(many.looks <= LOOKS_PER_SECOND, `${many.looks} looks in a second`);
  assert.ok(many.timers <= 25, `${many.timers} timers in a second`);
  assert.ok(many.timers <= few.timers + 5, `${many.timers} timers, ${few.timers} for a quarter of the apps`);
});
