/** Each system call of the identity switch made to fail, or to lie, or to hang, with strace. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';

const possible = process.getuid?.() === 0 && spawnSync('strace', ['--version']).status === 0;
const options = possible ? {} : { skip: 'needs root and strace' };

interface Outcome {
  readonly step?: string;
  readonly errno?: number;
  readonly code?: number;
  readonly tookMs: number;
  readonly ticks: number;
}

function spawnWith(call: string, fault: string): Outcome {
  const strace = ['-f', '-qq', '-o', '/dev/null', '-e', `trace=${call}`, '-e', `inject=${call}:${fault}`];
  const program = [process.execPath, '--import', 'tsx', path.join(__dirname, 'spawn-once.ts')];
  const run = spawnSync('strace', [...strace, ...program], { encoding: 'utf8', timeout: 30_000 });
  return JSON.parse(run.stdout) as Outcome;
}

test('a step that fails ends the child before exec and is named', options, () => {
  const steps = [
    ['setsid', 'setsid'],
    ['setgroups', 'setgroups'],
    ['setresgid', 'setgid'],
    ['setresuid', 'setuid'],
    ['capset', 'capabilities'],
    ['prctl', 'no_new_privs'],
    ['close_range', 'close_range'],
    ['chdir', 'chdir'],
    ['execve', 'exec'],
  ] as const;
  for (const [call, step] of steps) {
    const outcome = spawnWith(call, 'error=EAGAIN');
    assert.deepEqual([outcome.step, outcome.errno, outcome.code], [step, 11, 126], call);
  }
});

test('a call that says yes and does nothing is found out by reading back', options, () => {
  for (const call of ['setgroups', 'setresgid', 'setresuid']) {
    const outcome = spawnWith(call, 'retval=0');
    assert.deepEqual([outcome.step, outcome.code], ['verify identity', 126], call);
  }
});

test('a chdir that hangs does not hold the event loop', options, () => {
  const outcome = spawnWith('chdir', 'delay_enter=1000000');
  assert.equal(outcome.step, undefined);
  assert.ok(outcome.tookMs >= 1000 && outcome.ticks > 50, JSON.stringify(outcome));
});
