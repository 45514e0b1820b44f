/** Processes that have to live for a moment before they count as ready: the first ones of new code. */
import assert from 'node:assert';
import { test } from 'node:test';
import { deferred } from '../../../core/base/deferred.js';
import { configOf, failureOf, get, HELLO, noneLeft } from './real-apps.js';
import { SmallSupervisor } from './small-supervisor.js';

test('an app that has to prove itself and dies meanwhile has not started, and its last words are known', async (t) => {
  const supervisor = new SmallSupervisor(t);
  const dies = "setTimeout(() => { console.error('the database is away'); process.exit(3); }, 200);";
  let begun = 0;
  const proof = { ms: 20_000, begins: () => (begun += 1) };
  const { ready } = supervisor.spawner.spawn(configOf(t, { 'app.js': `${HELLO} ${dies}` }), 1, proof);
  const { code, details } = await failureOf(ready);
  assert.deepStrictEqual([code, details['step'], details['exitCode']], ['PSG6019', 'proving', 3]);
  assert.match(String(details['lastOutput']), /the database is away/);
  assert.strictEqual(begun, 1);
  await noneLeft(supervisor);
});

test('an app that proves itself is ready after that time, or at once when it is needed; canceled, it leaves nothing', async (t) => {
  const supervisor = new SmallSupervisor(t);
  // The time of a start is over by then.
  const config = configOf(t, { 'app.js': HELLO }, { startTimeout: '1' });
  const proofs = [0, 1].map(() => deferred<void>());
  const [first, second] = proofs.map(({ resolve }, index) =>
    supervisor.spawner.spawn(config, 1, { ms: index === 0 ? 1500 : 60_000, begins: resolve }),
  );
  assert.ok(first !== undefined && second !== undefined);
  await Promise.all(proofs.map(({ promise }) => promise));
  const begun = performance.now();
  const handle = await first.ready;
  assert.ok(performance.now() - begun > 1000);
  assert.strictEqual(await get(handle.target), `hello ${handle.pid}`);
  second.hurry();
  const other = await second.ready;
  assert.strictEqual(await get(other.target), `hello ${other.pid}`);
  const third = supervisor.spawner.spawn(config, 1, { ms: 60_000, begins: () => third.cancel() });
  assert.strictEqual((await failureOf(third.ready)).code, 'PSG6008');
  for (const process of [handle, other]) process.signal('SIGKILL', true);
  await noneLeft(supervisor);
});
