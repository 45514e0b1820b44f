/** Memory as the system tells it: of a process, of what belongs to it, and where nobody may look. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { Families, parseBelonging, parseStatm, ProcessMemory } from '../../../core/spawn/process-memory.js';
import { SupervisorMemory } from '../../../core/spawn/supervisor-memory.js';
import type { FromCore } from '../../../core/supervisor/messages.js';
import { eventually } from '../../support/eventually.js';
import { FakeClock } from '../../support/fake-clock.js';

const PAGE = 4096;

interface Fake {
  readonly parent: number;
  readonly session: number;
  readonly resident: number;
  readonly shared: number;
}

/** A directory that looks like /proc. */
class FakeProc {
  readonly root = mkdtempSync(path.join(tmpdir(), 'psg-proc-'));

  constructor(t: TestContext) {
    t.after(() => rmSync(this.root, { recursive: true }));
  }

  put(pid: number, { parent, session, resident, shared }: Fake): void {
    mkdirSync(path.join(this.root, String(pid)), { recursive: true });
    writeFileSync(
      path.join(this.root, `${pid}/stat`),
      `${pid} (evil) R 1 1 1) S ${parent} ${session} ${session} 0`,
    );
    writeFileSync(path.join(this.root, `${pid}/statm`), `9999 ${resident} ${shared} 0 0 0 0\n`);
  }

  remove(pid: number): void {
    rmSync(path.join(this.root, String(pid)), { recursive: true });
  }
}

const unknown = (): Promise<undefined> => Promise.resolve(undefined);

test('a command name with spaces and parentheses shifts no field', () => {
  assert.deepEqual(parseBelonging('7 (a) S 1 (b) S 3 4 5 6 7'), { parent: 3, session: 5 });
  assert.equal(parseBelonging(''), undefined);
  assert.equal(parseStatm(''), undefined);
});

test('to a process belong its session and its descendants, however deep, and nobody else', () => {
  const all = new Map([
    [10, { parent: 1, session: 10 }],
    // A child, a grandchild with a session of its own, and its child.
    [11, { parent: 10, session: 10 }],
    [12, { parent: 11, session: 12 }],
    [13, { parent: 12, session: 12 }],
    // Its parent has gone, its session is left.
    [14, { parent: 1, session: 10 }],
    [20, { parent: 1, session: 20 }],
    [21, { parent: 20, session: 20 }],
  ]);
  const families = new Families(all);
  assert.deepEqual(families.of(10).sort(), [11, 12, 13, 14]);
  assert.deepEqual(families.of(20), [21]);
  assert.deepEqual(families.of(99), []);
});

test('of the process all resident pages count, of its children those that are theirs alone', async (t) => {
  const proc = new FakeProc(t);
  proc.put(10, { parent: 1, session: 10, resident: 100, shared: 60 });
  proc.put(11, { parent: 10, session: 10, resident: 80, shared: 50 });
  proc.put(20, { parent: 1, session: 20, resident: 5, shared: 1 });
  const memory = new ProcessMemory(new FakeClock(), unknown, proc.root);
  const measured = await memory.measure([10, 20]);
  assert.deepEqual(
    [...measured],
    [
      [10, 130 * PAGE],
      [20, 5 * PAGE],
    ],
  );
});

test('children that come later are seen within five seconds, and a number that is another’s by now is not counted', async (t) => {
  const proc = new FakeProc(t);
  const clock = new FakeClock();
  const memory = new ProcessMemory(clock, unknown, proc.root);
  proc.put(10, { parent: 1, session: 10, resident: 100, shared: 60 });
  proc.put(11, { parent: 10, session: 10, resident: 80, shared: 50 });
  const pages = async (): Promise<number> => ((await memory.measure([10])).get(10) ?? 0) / PAGE;
  assert.equal(await pages(), 130);
  proc.put(12, { parent: 11, session: 10, resident: 7, shared: 0 });
  proc.put(11, { parent: 1, session: 500, resident: 1000, shared: 0 });
  assert.equal(await pages(), 100);
  clock.advance(5000);
  assert.equal(await pages(), 107);
});

test('who is gone is missing, and whoever is hidden is asked for', async (t) => {
  const proc = new FakeProc(t);
  proc.put(10, { parent: 1, session: 10, resident: 100, shared: 60 });
  const asked: number[] = [];
  const ask = (pid: number): Promise<number | undefined> => {
    asked.push(pid);
    return Promise.resolve(pid === 11 ? 4321 : undefined);
  };
  const memory = new ProcessMemory(new FakeClock(), ask, proc.root);
  assert.deepEqual(
    [...(await memory.measure([10, 11, 12]))],
    [
      [10, 100 * PAGE],
      [11, 4321],
    ],
  );
  assert.deepEqual(asked, [11, 12]);
});

test('a real process with a real child is measured', async (t) => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => 0, 1000)'], {
    detached: true,
    stdio: 'ignore',
  });
  t.after(() => child.kill('SIGKILL'));
  const clock = new FakeClock();
  const memory = new ProcessMemory(clock, unknown);
  const own = process.memoryUsage.rss();
  await eventually(5000, 'more than this process alone', async () => {
    clock.advance(5000);
    return ((await memory.measure([process.pid])).get(process.pid) ?? 0) > own + 5_000_000;
  });
  assert.ok(((await memory.measure([child.pid ?? 0])).get(child.pid ?? 0) ?? 0) > 10_000_000);
});

test('the supervisor’s answer is given to all who asked, and no answer is no memory', async () => {
  const clock = new FakeClock();
  const sent: FromCore[] = [];
  const memory = new SupervisorMemory({ send: (message) => void sent.push(message) }, clock);
  const first = memory.ask(7);
  const second = memory.ask(7);
  assert.deepEqual(sent, [{ type: 'MEMORY', pid: 7 }]);
  memory.handle({ type: 'MEMORY_RESULT', pid: 7, bytes: 5000n });
  memory.handle({ type: 'MEMORY_RESULT', pid: 7, bytes: 6000n });
  assert.deepEqual(await Promise.all([first, second]), [5000, 5000]);
  const gone = memory.ask(8);
  memory.handle({ type: 'MEMORY_RESULT', pid: 8, bytes: 0n });
  const late = memory.ask(9);
  clock.advance(2000);
  assert.deepEqual(await Promise.all([gone, late]), [undefined, undefined]);
  assert.equal(clock.pending, 0);
});
