/** Apps that do not stay: what visitors, operators and developers see, and how such an app comes back. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { Load, ask, type Answer } from './client.js';
import { alive, appPids, logLine, rule } from './kit.js';
import { adminView } from './pool-view.js';

interface GroupView {
  readonly failure?: string;
  readonly failureMessage?: string;
  readonly failureDetails?: Readonly<Record<string, unknown>>;
  readonly pauseMs: number;
}

async function group(apache: Apache): Promise<GroupView> {
  const { groups } = await adminView<{ groups: GroupView[] }>(apache, '/pool.json');
  return groups[0] ?? { pauseMs: 0 };
}

function count(apache: Apache, pattern: RegExp): number {
  return apache.log().match(new RegExp(pattern, 'g'))?.length ?? 0;
}

const GOOD = "require('node:http').createServer((req, res) => res.end('mended')).listen(3000);";

/** 200 requests, 20 at a time. */
async function twoHundred(apache: Apache): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let turn = 0; turn < 10; turn += 1) {
    answers.push(...(await Promise.all(Array.from({ length: 20 }, () => ask(apache.port, 'a.test', '/')))));
  }
  return answers;
}

rule(
  'an app that dies at its start: once per attempt in the log, and mended without a restart',
  {},
  async (scene) => {
    const { apache, app } = await scene.serve('broken', 'PassengerAppEnv development');
    apache.allowLog(/PSG\d{4}|App \d+ std/);
    const answers = await twoHundred(apache);
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [500]);
    assert.ok(
      answers.every(({ text }) => text.includes('the database of the broken app is away')),
      'each says why',
    );
    const attempts = count(apache, /broken says: about to fail/);
    assert.ok(attempts <= 4, `${attempts} attempts`);
    assert.ok(count(apache, /PSG5003/) <= attempts);
    assert.ok(count(apache, /PSG6006/) <= attempts, 'not for each request');
    const { failure, failureMessage, failureDetails, pauseMs } = await group(apache);
    assert.equal(failure, 'PSG6006');
    assert.equal(failureMessage, 'app threw an exception while it started');
    assert.match(String(failureDetails?.['exception']), /database of the broken app is away/);
    assert.ok(pauseMs > 0);
    writeFileSync(`${app}/app.js`, GOOD);
    await eventually(
      10_000,
      'the app serves',
      async () => (await ask(apache.port, 'a.test', '/')).text === 'mended',
    );
  },
);

rule('restart.txt ends the pause after failures at once', {}, async (scene) => {
  const { apache, app } = await scene.serve('broken', '', { server: 'PassengerStatThrottleRate 0' });
  apache.allowLog(/PSG\d{4}|App \d+ std/);
  // The pauses grow: 1, 2, 4 s.
  await eventually(15_000, 'a long pause', async () => {
    await ask(apache.port, 'a.test', '/');
    return (await group(apache)).pauseMs > 3000;
  });
  writeFileSync(`${app}/app.js`, GOOD);
  writeFileSync(`${app}/tmp/restart.txt`, '');
  const begun = performance.now();
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'mended');
  assert.ok(performance.now() - begun < 2000);
});

rule(
  'an app that dies soon after its start: 503 with Retry-After while it is given a rest',
  {},
  async (scene) => {
    const { apache, app } = await scene.serve('storm', 'PassengerAppEnv development');
    apache.allowLog(/PSG\d{4}/);
    await ask(apache.port, 'a.test', '/');
    await eventually(10_000, 'a pause', async () => (await group(apache)).failure === 'PSG5006');
    const { failureDetails } = await group(apache);
    assert.equal(failureDetails?.['end'], 'exit code 7');
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask(apache.port, 'a.test', '/')));
    const refused = answers.filter(({ status }) => status === 503);
    assert.ok(refused.length > 0);
    for (const { headers, text } of refused) {
      assert.notEqual(headers['retry-after'], undefined);
      assert.match(text, /exit code 7[^]*PSG5006/, 'developers read how it ended');
    }
    const ends = count(apache, /PSG5005/);
    assert.ok(count(apache, /PSG5006/) <= ends - 2, 'once for each pause');
    writeFileSync(`${app}/app.js`, GOOD);
    await eventually(
      15_000,
      'the app serves',
      async () => (await ask(apache.port, 'a.test', '/')).text === 'mended',
    );
  },
);

rule(
  'an app that dies of each request is slowed down, and visitors learn nothing about it',
  {},
  async (scene) => {
    const { apache } = await scene.serve('unruly');
    apache.allowLog(/PSG\d{4}/);
    const load = new Load(apache.port, 'a.test', '/crash', 8, { method: 'POST', body: 'x' });
    await new Promise((turn) => setTimeout(turn, 3000));
    const { byStatus, requests } = await load.stop();
    assert.deepEqual(Object.keys(byStatus).sort(), ['502', '503']);
    const ends = count(apache, /PSG5005/);
    assert.ok(ends >= 3 && ends <= 8, `${ends} processes for ${requests} requests`);
    const answer = await ask(apache.port, 'a.test', '/crash');
    assert.doesNotMatch(answer.text, /exit code|livedMs/);
    await eventually(
      10_000,
      'others are served again',
      async () => (await ask(apache.port, 'a.test', '/')).status === 200,
    );
  },
);

rule(
  'a process that the kernel kills for its memory: one line that hints at it, and the next is served',
  {},
  async (scene) => {
    const { apache, app } = await scene.serve('unruly');
    const pid = Number((await ask(apache.port, 'a.test', '/pid')).text);
    apache.allowLog(/PSG5005/);
    process.kill(pid, 'SIGKILL');
    await eventually(5000, 'it is gone', () => !alive(pid));
    await logLine(apache, /PSG5005 .*end=SIGKILL/);
    assert.equal((await ask(apache.port, 'a.test', '/')).status, 200);
    assert.equal(appPids(apache, app).length, 1);
  },
);

rule('a GET that kills its process is given to no other one', {}, async (scene) => {
  const { apache, app } = await scene.serve('unruly', 'PassengerMinInstances 3');
  const pids = new Set<string>();
  await eventually(15_000, 'all three have answered, on connections that are kept', async () => {
    return pids.add((await ask(apache.port, 'a.test', '/pid')).text).size === 3;
  });
  apache.allowLog(/PSG5005|PSG4001/);
  assert.equal((await ask(apache.port, 'a.test', '/crash')).status, 502);
  await logLine(apache, /PSG5005/);
  await eventually(10_000, 'three processes again', () => appPids(apache, app).length === 3);
  assert.equal([...pids].filter((pid) => alive(Number(pid))).length, 2, 'one has died');
});

rule('processes that end by themselves in good order cost no request', {}, async (scene) => {
  const { apache } = await scene.serve('unruly', 'PassengerMinInstances 2');
  await ask(apache.port, 'a.test', '/');
  apache.allowLog(/PSG50\d\d/);
  const load = new Load(apache.port, 'a.test', '/pid', 8);
  for (let turn = 1; turn <= 3; turn += 1) {
    await load.reached(load.requests + 100);
    const leaver = Number((await ask(apache.port, 'a.test', '/leave')).text);
    await eventually(5000, 'it is gone', () => !alive(leaver));
  }
  await load.reached(load.requests + 100);
  assert.deepEqual((await load.stop()).failures, []);
});
