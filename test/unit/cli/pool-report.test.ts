/** passenger-status prints what Passenger's prints, because people and scripts read it by position. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  duration,
  headText,
  poolText,
  type GroupView,
  type PoolView,
  type ProcessLine,
} from '../../../core/cli/pool-report.js';

const PROCESS: ProcessLine = {
  pid: 6230,
  state: 'ready',
  sessions: 0,
  processed: 77155,
  uptimeMs: 77_400,
  idleMs: 15_100,
};
const GROUP: GroupView = {
  name: '/srv/app (production)',
  appRoot: '/srv/app',
  waiting: 0,
  starting: 0,
  restarting: false,
  pauseMs: 0,
  processes: [],
};

const facts = (): { cpuPercent: number; residentBytes: number } => ({
  cpuPercent: 7.2,
  residentBytes: 44 * 2 ** 20,
});

const poolOf = (group: Partial<GroupView>): PoolView => ({
  maxPoolSize: 6,
  groups: [{ ...GROUP, ...group }],
});

test('the report has the shape of the real one', () => {
  assert.equal(
    poolText(poolOf({ processes: [PROCESS] }), facts),
    `----------- General information -----------
Max pool size : 6
App groups    : 1
Processes     : 1
Requests in top-level queue : 0

----------- Application groups -----------
/srv/app (production):
  App root: /srv/app
  Requests in queue: 0
  * PID: 6230    Sessions: 0       Processed: 77155   Uptime: 1m 17s
    CPU: 7%      Memory  : 44M     Last used: 15s ago

`,
  );
});

test('what a group is busy with stands below its root, and a process without a pid is no process yet', () => {
  const unborn: ProcessLine = { state: 'starting', sessions: 0, processed: 0, uptimeMs: 0, idleMs: 0 };
  const text = poolText(poolOf({ starting: 2, restarting: true, processes: [unborn] }), facts);
  assert.match(
    text,
    /App root: \/srv\/app\n {2}\(restarting\.\.\.\)\n {2}\(spawning 2 new processes\.\.\.\)\n/,
  );
  assert.match(text, /^Processes {5}: 0$/m);
  assert.doesNotMatch(text, /PID/);
});

test('a group without a place in the full pool says so', () => {
  const text = poolText(poolOf({ starving: true, waiting: 2 }), facts);
  assert.match(text, /\n {2}\(waiting for a place in the full pool\)\n {2}Requests in queue: 2\n/);
});

test('a group that pauses after failures says why and how long', () => {
  const text = poolText(poolOf({ failure: 'PSG6004', pauseMs: 4000 }), facts);
  assert.match(text, /\(paused after PSG6004, next try in 4s\)\n {2}Requests in queue: 0\n/);
});

test('a group that resists its new code says why', () => {
  const deploymentFailure = { error: 'PSG6006', message: 'app raised an exception while it was loading' };
  const text = poolText(poolOf({ deploymentFailure }), facts);
  assert.match(
    text,
    /\(resisting a failed deployment: PSG6006 app raised .* loading\)\n {2}Requests in queue/,
  );
  const details = { exception: 'no db' };
  const why = poolText(poolOf({ deploymentFailure: { ...deploymentFailure, details } }), facts);
  assert.match(why, /PSG6006 app raised .* loading \(no db\)\)\n/);
});

test('a process that ends says so, and one that is gone has no facts', () => {
  const text = poolText(poolOf({ processes: [{ ...PROCESS, state: 'stopping' }] }), () => undefined);
  assert.match(text, /CPU: \? {7}Memory {2}: \? {7}Last used: 15s ago\n {4}Shutting down\.\.\.\n/);
});

test('the head names version, time and instance', () => {
  const head = { version: '0.1.0', instance: 'kPAAybXn', serverSoftware: 'Apache/2.4.71' };
  const lines = headText(head, new Date('2026-11-20T23:14:28Z')).split('\n');
  assert.equal(lines[0], 'Version : 0.1.0');
  assert.match(lines[1] ?? '', /^Date {4}: 2026-11-2\d \d\d:\d\d:28 [+-]\d{4}$/);
  assert.deepEqual(lines.slice(2), ['Instance: kPAAybXn (Apache/2.4.71)', '', '']);
});

test('durations begin with the largest unit that counts', () => {
  assert.equal(duration(0), '0s');
  assert.equal(duration(-5), '0s');
  assert.equal(duration(61_000), '1m 1s');
  assert.equal(duration(((2 * 24 + 3) * 60 + 4) * 60_000 + 5000), '2d 3h 4m 5s');
  assert.equal(duration(86_400_000), '1d 0h 0m 0s');
});

test('a pause names how the app ended, or why it did not start', () => {
  const paused = { failure: 'PSG5006', pauseMs: 4000 };
  const ended = poolText(poolOf({ ...paused, failureDetails: { end: 'exit code 7' } }), facts);
  assert.match(ended, /\(paused after PSG5006 \(exit code 7\), next try in 4s\)/);
  const threw = poolText(poolOf({ ...paused, failureDetails: { exception: 'no db\nat x' } }), facts);
  assert.match(threw, /\(paused after PSG5006 \(no db\), next try in 4s\)/);
  assert.match(poolText(poolOf(paused), facts), /\(paused after PSG5006, next try in 4s\)/);
  const start = { failure: 'PSG6005', failureMessage: 'app ended before it was ready' };
  const told = (facts_: Partial<GroupView>): string => poolText(poolOf({ ...start, ...facts_ }), facts);
  const exited = told({ pauseMs: 400, failureDetails: { exitCode: 7, signal: undefined } });
  assert.match(
    exited,
    /\(paused after PSG6005 app ended before it was ready \(exit code 7\), next try in 1s\)/,
  );
  const killed = told({ pauseMs: 0, failureDetails: { signal: 'SIGSEGV' } });
  assert.match(killed, /\(last failure: PSG6005 app ended before it was ready \(SIGSEGV\)\)/);
  const detail = 'app ended before it was ready path=/srv/app';
  assert.match(told({ pauseMs: 0, failureDetails: { detail } }), /failure: PSG6005 app .* path=\/srv\/app\)/);
});

test('a process that gives no sign of life has a line of its own', () => {
  const silent = (state: string, silentMs: number): string =>
    poolText(poolOf({ processes: [{ ...PROCESS, state, silentMs }] }), facts);
  assert.match(silent('ready', 12_300), /ago\n {4}Not answering for 12s\n/);
  assert.doesNotMatch(silent('ready', 4000), /Not answering/);
  assert.doesNotMatch(silent('stopping', 12_300), /Not answering/);
});
