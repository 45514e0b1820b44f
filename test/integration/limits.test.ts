/** What an app may not exceed: memory, time, and the patience with which it is asked to end. */
import assert from 'node:assert/strict';
import { utimesSync, writeFileSync } from 'node:fs';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { allProcesses } from '../support/processes.js';
import { Load, ask } from './client.js';
import { alive, logLine, rssKb, rule } from './kit.js';
import { adminView } from './pool-view.js';
import { upgrade } from './ws-client.js';

const NOW = { server: 'PassengerStatThrottleRate 0' };

interface PoolView {
  readonly groups: readonly {
    readonly processes: readonly {
      readonly pid?: number;
      readonly memory?: number;
      readonly silentMs?: number;
    }[];
  }[];
}

async function text(apache: Apache, path: string): Promise<string> {
  const answer = await ask(apache.port, 'a.test', path);
  assert.equal(answer.status, 200, `${path}: ${answer.status} ${answer.failure} ${answer.text}`);
  return answer.text;
}

async function numbers(apache: Apache, path: string): Promise<number[]> {
  return (await text(apache, path)).split(' ').map(Number);
}

/** Everything in the session of a process, itself included. */
function sessionOf(pid: number): number[] {
  return allProcesses()
    .filter(({ session }) => session === pid)
    .map((process) => process.pid);
}

function restart(app: string): void {
  writeFileSync(`${app}/tmp/restart.txt`, '');
  utimesSync(`${app}/tmp/restart.txt`, new Date(), new Date());
}

rule(
  'PassengerHardMemoryLimit: the process is killed at once, said once, and replaced',
  {},
  async (scene) => {
    const { apache } = await scene.serve('unruly', 'PassengerHardMemoryLimit 150');
    const pid = Number(await text(apache, '/pid'));
    await eventually(5000, 'a measurement', async () => {
      const { groups } = await adminView<PoolView>(apache, '/pool.json');
      const memory = groups[0]?.processes[0]?.memory ?? 0;
      return memory > 2e7 && memory < 1.5e8;
    });
    apache.allowLog(/PSG5030/);
    await text(apache, '/take?mb=200');
    await eventually(4000, 'the process is gone', () => !alive(pid));
    await logLine(apache, /PSG5030 .*limitMB=150/);
    assert.notEqual(Number(await text(apache, '/pid')), pid);
    assert.equal(apache.log().match(/PSG5030/g)?.length, 1);
  },
);

rule('a leak of half a gigabyte a second does not get far beyond the limit', {}, async (scene) => {
  const { apache } = await scene.serve('unruly', 'PassengerHardMemoryLimit 200');
  apache.allowLog(/PSG5030/);
  const pid = Number(await text(apache, '/leak?mb=5'));
  let peakMb = 0;
  await eventually(5000, 'the process is gone', () => {
    const mb = rssKb(pid) / 1024;
    if (mb > peakMb) peakMb = mb;
    return !alive(pid);
  }).catch((error: unknown) => {
    if (alive(pid)) throw error;
  });
  assert.ok(peakMb < 700, `${peakMb} MB`);
  await logLine(apache, /PSG5030/);
});

rule('memory of children counts', {}, async (scene) => {
  const { apache } = await scene.serve('unruly', 'PassengerHardMemoryLimit 200');
  apache.allowLog(/PSG5030/);
  const pid = Number(await text(apache, '/child-takes?mb=250'));
  await eventually(8000, 'the process and its child are gone', () => sessionOf(pid).length === 0);
  await logLine(apache, /PSG5030/);
});

rule('PassengerMemoryLimit: the process is replaced, and no request fails', {}, async (scene) => {
  const { apache } = await scene.serve('unruly', 'PassengerMemoryLimit 150');
  const pid = Number(await text(apache, '/pid'));
  const load = new Load(apache.port, 'a.test', '/pid', 4);
  await text(apache, '/take?mb=150');
  await eventually(10_000, 'the process is gone', () => !alive(pid));
  const { failures, bodies } = await load.stop();
  assert.deepEqual(failures, []);
  assert.equal(bodies.size, 2, 'the old one and the new one');
});

rule('a spinning app: 504, others go to another process, and the process is killed', {}, async (scene) => {
  const { apache } = await scene.serve('unruly', 'PassengerMaxRequestTime 3\nPassengerMinInstances 2');
  const pids = new Set<string>();
  await eventually(10_000, 'two processes', async () => pids.add(await text(apache, '/pid')).size === 2);
  // Both have reported.
  await eventually(5000, 'reports', async () => {
    const { groups } = await adminView<PoolView>(apache, '/pool.json');
    return groups[0]?.processes.every(({ silentMs = 9000 }) => silentMs < 2500);
  });
  apache.allowLog(/PSG4012|PSG5031/);
  const spinning = ask(apache.port, 'a.test', '/spin');
  await new Promise((turn) => setTimeout(turn, 200));
  const others = new Set([await text(apache, '/pid'), await text(apache, '/pid')]);
  assert.equal(others.size, 1, 'the process that is busy gets none');
  const answer = await spinning;
  assert.equal(answer.status, 504);
  const [frozen = ''] = [...pids].filter((pid) => !others.has(pid));
  await eventually(8000, 'the frozen process is gone', () => !alive(Number(frozen)));
  await logLine(apache, /PSG5031 .*silentMs=/);
  await eventually(
    10_000,
    'two processes again',
    async () => others.add(await text(apache, '/pid')).size === 2,
  );
});

rule('requests that wait for a frozen process are served when it has been killed', {}, async (scene) => {
  const { apache } = await scene.serve('unruly', 'PassengerMaxRequestTime 3');
  const pid = await text(apache, '/pid');
  apache.allowLog(/PSG401[23]|PSG5031|PSG400/);
  const spinning = ask(apache.port, 'a.test', '/spin');
  await new Promise((turn) => setTimeout(turn, 2500));
  const waiting = ask(apache.port, 'a.test', '/pid');
  assert.equal((await spinning).status, 504);
  const answer = await waiting;
  if (answer.status === 200) assert.notEqual(answer.text, pid);
  else assert.equal(answer.status, 504, answer.text);
  await eventually(8000, 'a new process serves', async () => {
    const next = await ask(apache.port, 'a.test', '/pid');
    return next.status === 200 && next.text !== pid;
  });
});

rule(
  'an app that hears no signal, with children that hear none: drain, ask, kill, in time',
  {},
  async (scene) => {
    const { apache, app } = await scene.serve(
      'unruly',
      'PassengerDrainTimeout 1\nPassengerShutdownTimeout 2',
      NOW,
    );
    const pid = Number(await text(apache, '/deaf'));
    const children = await numbers(apache, '/children?n=3');
    assert.equal(children.filter(alive).length, 3);
    const stuck = ask(apache.port, 'a.test', '/hang', { method: 'POST', body: 'x' });
    await new Promise((turn) => setTimeout(turn, 200));
    apache.allowLog(/PSG5007|PSG5008|PSG4001/);
    const begun = performance.now();
    restart(app);
    assert.notEqual(Number(await text(apache, '/pid')), pid, 'others are served by the new code meanwhile');
    await eventually(8000, 'the process is gone', () => !alive(pid));
    const tookMs = performance.now() - begun;
    assert.ok(tookMs > 2500 && tookMs < 5000, `${tookMs} ms`);
    await eventually(1000, 'and so are its children', () => !children.some(alive));
    assert.equal((await stuck).status, 502);
    await logLine(apache, /PSG5007/);
    await logLine(apache, /PSG5008/);
  },
);

rule('children that hear no signal end with their parent, however it ends', {}, async (scene) => {
  const { apache } = await scene.serve('unruly');
  const pid = Number(await text(apache, '/pid'));
  const children = await numbers(apache, '/children?n=2');
  apache.allowLog(/PSG5005|PSG4001/);
  assert.equal((await ask(apache.port, 'a.test', '/crash', { method: 'POST' })).status, 502);
  await eventually(3000, 'nobody is left', () => ![pid, ...children].some(alive));
  assert.notEqual(Number(await text(apache, '/pid')), pid);
});

rule(
  'a child with a session of its own outlives the app: it is a daemon, and nobody else’s business',
  {},
  async (scene) => {
    const { apache, app } = await scene.serve('unruly', '', NOW);
    const pid = Number(await text(apache, '/pid'));
    const [daemon = 0] = await numbers(apache, '/daemon');
    restart(app);
    await text(apache, '/pid');
    await eventually(5000, 'the process is gone', () => !alive(pid));
    assert.ok(alive(daemon));
    // With what it has started itself.
    process.kill(-daemon, 'SIGKILL');
  },
);

for (const abort of ['on', 'off']) {
  rule(`tunnels that never end do not hold an old process (abort ${abort})`, {}, async (scene) => {
    const { apache, app } = await scene.serve(
      'unruly',
      `PassengerAbortWebsocketsOnProcessShutdown ${abort}\nPassengerDrainTimeout 2\nPassengerShutdownTimeout 2`,
      NOW,
    );
    const pid = Number(await text(apache, '/deaf'));
    const tunnel = await upgrade(apache.port, '/tunnel');
    await eventually(5000, 'the tunnel', () => tunnel.text.includes(' 101 '));
    apache.allowLog(/PSG5007|PSG5008|PSG402/);
    const begun = performance.now();
    restart(app);
    assert.notEqual(Number(await text(apache, '/pid')), pid);
    await eventually(8000, 'the process is gone', () => !alive(pid));
    const tookMs = performance.now() - begun;
    const [least, most] = abort === 'on' ? [1500, 3900] : [3500, 6000];
    assert.ok(tookMs > least && tookMs < most, `${tookMs} ms`);
    await eventually(2000, 'the client sees the end', () => tunnel.ended);
    tunnel.close();
  });
}
