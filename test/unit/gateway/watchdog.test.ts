/** One app's bytes never stall the event loop that all apps share. */
import assert from 'node:assert';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

const STALL_MS = 200;
/** An endless loop is reported, not waited for. */
const DEAD_MS = 10_000;
/** A busy machine can stall anything; a killer stalls each time. */
const RUNS = 3;

interface Word {
  readonly begins?: string;
  readonly over?: number;
}

/** Longest pauses of the gateway's loop, by killer. */
async function stalls(): Promise<Map<string, number>> {
  const beats = new SharedArrayBuffer(4);
  const counter = new Int32Array(beats);
  // Workers of Node 20 do not take over the loader of TypeScript.
  const worker = new Worker(
    `require('tsx/cjs'); require(${JSON.stringify(join(__dirname, 'killers.ts'))});`,
    {
      eval: true,
      workerData: { beats },
    },
  );
  const longest = new Map<string, number>();
  let current = 'start';
  let killers = 0;
  worker.on('message', (word: Word) => {
    current = word.begins ?? current;
    killers = word.over ?? killers;
  });
  worker.on('error', (error) => longest.set(`${current}: ${error.message}`, Number.POSITIVE_INFINITY));
  let ended = false;
  worker.on('exit', () => (ended = true));
  let last = -1;
  let at = performance.now();
  let looked = at;
  while (killers === 0 && !ended) {
    await pause(5);
    const now = performance.now();
    // Time in which we ourselves did not run says nothing.
    at += Math.max(0, now - looked - 10);
    looked = now;
    const beat = Atomics.load(counter, 0);
    if (beat !== last) {
      last = beat;
      at = now;
    } else if (current !== 'start' && now - at > (longest.get(current) ?? 0)) longest.set(current, now - at);
    if (current !== 'start' && now - at > DEAD_MS) break;
  }
  await worker.terminate();
  assert.ok(killers > 80, `the killers ended with "${current}": ${JSON.stringify([...longest])}`);
  return longest;
}

test('no answer of an app stalls the gateway for 200 ms', async (t) => {
  let suspects: string[] | undefined;
  for (let run = 0; run < RUNS && suspects?.length !== 0; run += 1) {
    const slow = [...(await stalls())].filter(([, ms]) => ms >= STALL_MS);
    for (const [name, ms] of slow) t.diagnostic(`${name}: ${ms.toFixed(0)} ms`);
    const names = slow.map(([name]) => name);
    suspects = suspects === undefined ? names : suspects.filter((name) => names.includes(name));
  }
  assert.deepStrictEqual(suspects, []);
});
