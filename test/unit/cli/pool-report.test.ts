/** passenger-status prints what Passenger's prints, because people and scripts read it by position. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { duration, headText, poolText, type ProcessLine } from '../../../core/cli/pool-report.js';

const NOW = new Date('2026-11-20T23:14:28Z');

const PROCESS: ProcessLine = {
  pid: 6230,
  state: 'ready',
  sessions: 0,
  processed: 77155,
  startedAt: '2026-11-20T23:13:11Z',
  lastUsedAt: '2026-11-20T23:14:13Z',
  cpuPercent: 7.2,
  residentBytes: 44 * 2 ** 20,
};
const GROUP = {
  name: '/srv/app (production)',
  appRoot: '/srv/app',
  waiting: 0,
  spawning: 0,
  restarting: false,
};

test('the report has the shape of the real one', () => {
  assert.equal(
    poolText({ maxPoolSize: 6, groups: [{ ...GROUP, processes: [PROCESS] }] }, NOW),
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

test('what a group is busy with stands below its root', () => {
  const text = poolText(
    { maxPoolSize: 6, groups: [{ ...GROUP, spawning: 2, restarting: true, processes: [] }] },
    NOW,
  );
  assert.match(
    text,
    /App root: \/srv\/app\n {2}\(restarting\.\.\.\)\n {2}\(spawning 2 new processes\.\.\.\)\n/,
  );
});

test('a process that ends says so', () => {
  const processes = [{ ...PROCESS, state: 'stopping' }];
  assert.match(
    poolText({ maxPoolSize: 6, groups: [{ ...GROUP, processes }] }, NOW),
    /ago\n {4}Shutting down\.\.\.\n/,
  );
});

test('the head names version, time and instance', () => {
  const text = headText({ version: '0.1.0', instance: 'kPAAybXn', serverSoftware: 'Apache/2.4.71' }, NOW);
  assert.match(
    text,
    /^Version : 0\.1\.0\nDate {4}: 2026-11-2\d \d\d:\d\d:28 [+-]\d{4}\nInstance: kPAAybXn \(Apache\/2\.4\.71\)\n\n$/,
  );
});

test('durations begin with the largest unit that counts', () => {
  assert.equal(duration(0), '0s');
  assert.equal(duration(-5), '0s');
  assert.equal(duration(61_000), '1m 1s');
  assert.equal(duration(((2 * 24 + 3) * 60 + 4) * 60_000 + 5000), '2d 3h 4m 5s');
  assert.equal(duration(86_400_000), '1d 0h 0m 0s');
});
