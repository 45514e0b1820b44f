/** Starting, asking and losing threads; what they carry is tested elsewhere. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { GatewayThreads } from '../../../core/threads/gateway-threads.js';
import { PacedLog } from '../../../core/base/paced-log.js';
import { SessionDesk } from '../../../core/threads/session-desk.js';
import { eventually } from '../../support/eventually.js';
import { FakeClock } from '../../support/fake-clock.js';
import { Bench, serverSettings } from '../pool/pool-fixture.js';

const MOODS = { well: '1', freezes: '2', throws: '3', ends: '4' } as const;

function start(t: TestContext, mood: keyof typeof MOODS) {
  const lines: string[] = [];
  const crashes: string[] = [];
  let fds = 100;
  const threads = new GatewayThreads(
    {
      count: 2,
      entry: join(__dirname, 'odd-thread.cjs'),
      desk: new SessionDesk(new Bench().pool),
      allowedUids: new Set([0]),
      clockOrigin: 0,
      sink: { write: (level, room, text) => void lines.push(`${level} ${room} ${text}`) },
      pages: { read: () => Promise.resolve(undefined) },
      failures: new PacedLog({ report: () => undefined }, new FakeClock()),
      duplicate: () => (fds += 1),
      onCrash: (error) => void crashes.push(error instanceof Error ? error.message : String(error)),
    },
    {
      admission: { secret: Buffer.alloc(32), tableHash: '' },
      server: serverSettings({ logLevel: MOODS[mood] }),
    },
  );
  t.after(() => threads.end());
  return { threads, lines, crashes };
}

test('each thread listens on a descriptor of its own, logs through the main thread and stops when asked', async (t) => {
  const { threads, lines, crashes } = start(t, 'well');
  assert.ok(threads.alive(), 'a thread that starts may take its time');
  await threads.listen(4);
  await eventually(5000, 'both have logged', () => lines.length === 2);
  assert.deepEqual(lines.sort(), ['notice gateway listens on 101', 'notice gateway listens on 102']);
  for (let second = 0; second < 6; second += 1) {
    const before = threads.counters().map(({ started }) => started);
    await eventually(5000, 'both beat', () =>
      threads.counters().every(({ started }, index) => started > (before[index] ?? 0)),
    );
    assert.ok(threads.alive());
  }
  await threads.stop();
  assert.deepEqual(crashes, []);
});

test('a thread that does not move any more is noticed at the third question', async (t) => {
  const { threads } = start(t, 'freezes');
  await threads.listen(4);
  await eventually(5000, 'both are frozen', () => threads.counters().every(({ completed }) => completed > 0));
  assert.deepEqual(
    [1, 2, 3, 4].map(() => threads.alive()),
    [true, true, true, false],
  );
});

test('a thread that throws is a crash, with its error', async (t) => {
  const { threads, crashes } = start(t, 'throws');
  await threads.listen(4);
  await eventually(5000, 'the crash', () => crashes.includes('broken'));
});

test('a thread that ends is a crash', async (t) => {
  const { threads, crashes } = start(t, 'ends');
  await threads.listen(4);
  await eventually(5000, 'the crash', () => crashes.some((text) => text.includes('has ended')));
});
