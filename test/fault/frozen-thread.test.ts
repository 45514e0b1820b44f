/** A gateway thread that moves no more, while the rest of the core goes on: the supervisor replaces the core. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeTemporaryDirectory } from '../../core/cli/staged-root.js';
import { currentTest } from '../support/current-test.js';
import { eventually } from '../support/eventually.js';
import { Load, ask } from '../integration/client.js';
import { alive, appPids, corePid, logLine, rule } from '../integration/kit.js';
import { adminView } from '../integration/pool-view.js';

/** Times that each thread but the main one went to sleep by itself. */
function naps(pid: number): Map<number, number> {
  const threads = readdirSync(`/proc/${pid}/task`).map(Number);
  return new Map(
    threads
      .filter((tid) => tid !== pid)
      .map((tid) => {
        const status = readFileSync(`/proc/${pid}/task/${tid}/status`, 'latin1');
        return [tid, Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1])];
      }),
  );
}

/** When nothing is asked for, those of the gateway are the threads that wake up several times a second. */
async function gatewayThreads(core: number): Promise<number[]> {
  const before = naps(core);
  return eventually(15_000, 'two threads that beat', () => {
    const awake = [...naps(core)].filter(([tid, count]) => count - (before.get(tid) ?? 0) >= 6);
    return awake.length >= 2 ? awake.map(([tid]) => tid) : undefined;
  });
}

/** Stops one thread of a process. @returns what lets it go on */
async function freeze(tid: number): Promise<() => void> {
  const directory = makeTemporaryDirectory('psg-freeze-');
  currentTest().directories.push(directory);
  const tool = join(directory, 'stop_thread');
  execFileSync('cc', ['-O1', '-Wall', '-Wextra', '-Werror', '-o', tool, join(__dirname, 'stop_thread.c')]);
  const child = spawn(tool, [String(tid)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  assert.equal(said.toString(), 'stopped\n');
  return () => child.stdin.end();
}

rule(
  'a gateway thread that freezes: the core is replaced, whatever its other threads do, and apps keep their pids',
  { root: true, timeoutMs: 120_000 },
  async (scene) => {
    // Each request makes the core ask the supervisor for the restart files: such a core is not silent.
    const { apache, app } = await scene.serve('probe', '', {
      server: 'PassengerGatewayThreads 2\nPassengerStatThrottleRate 0',
    });
    assert.equal((await ask(apache.port, 'a.test', '/')).status, 200);
    apache.allowLog(/PSG\d{4}|exit signal/);
    const core = corePid(apache);
    const apps = appPids(apache, app);
    const [tid = 0] = await gatewayThreads(core);
    const thaw = await freeze(tid);
    try {
      const load = new Load(apache.port, 'a.test', '/', 4);
      await eventually(30_000, 'the core has gone', () => !alive(core));
      const { byStatus } = await load.stop();
      assert.ok((byStatus['200'] ?? 0) > 0, 'the other thread has carried requests');
      assert.deepEqual(
        Object.keys(byStatus).filter((status) => !['0', '200', '502', '503'].includes(status)),
        [],
      );
    } finally {
      thaw();
    }
    await logLine(apache, /PSG7007 .*heartbeat/);
    await eventually(10_000, 'service', async () => (await ask(apache.port, 'a.test', '/')).status === 200);
    const after = new Load(apache.port, 'a.test', '/', 8);
    await after.reached(100);
    assert.deepEqual((await after.stop()).failures, []);
    assert.deepEqual(appPids(apache, app), apps);
    const { threads } = await adminView<{ threads: readonly unknown[] }>(apache, '/gateway.json');
    assert.equal(threads.length, 2);
  },
);
