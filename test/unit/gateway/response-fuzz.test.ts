import assert from 'node:assert';
import { test } from 'node:test';
import { seedFromEnvironment } from '../../fuzz/random.js';
import { fuzzResponses } from '../../fuzz/response-fuzz.js';

test('what the gateway takes as a complete answer, node:http takes too, and the same', async (t) => {
  const seed = seedFromEnvironment();
  t.diagnostic(`SEED=${seed}`);
  const report = await fuzzResponses(seed, 5000);
  assert.deepStrictEqual(report.findings, []);
  assert.ok(report.accepted > 100 && report.refused > 100, JSON.stringify(report));
});
