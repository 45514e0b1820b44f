/**
 * The core of the threads' benchmark: pool, books and gateway as in production, an app that is there already instead
 * of a supervisor. Arguments: socket to listen on, socket of the app, number of threads. Answers `usage` by IPC.
 */
import { resolve } from 'node:path';
import { clockOrigin, systemClock } from '../../core/base/clock.js';
import { Log, LogThreshold } from '../../core/base/log.js';
import { PacedLog } from '../../core/base/paced-log.js';
import { parseServerSettings } from '../../core/config/server-config.js';
import { makeGateway } from '../../core/gateway-parts.js';
import { duplicate, listenUnix } from '../../core/native.js';
import { Pool } from '../../core/pool/pool.js';
import type { AppGroup } from '../../core/pool/app-group.js';
import { AppRegistry } from '../../core/routing/app-registry.js';
import { choose } from '../../core/routing/choose.js';
import type { AppProcessHandle } from '../../core/spawn/spawner.js';
import { MainThreadFront, type Front } from '../../core/threads/front.js';
import { GatewayThreads } from '../../core/threads/gateway-threads.js';
import { SessionDesk } from '../../core/threads/session-desk.js';

const [path = '', appSocket = '', threads = '1'] = process.argv.slice(2);
const server = parseServerSettings([['PassengerStatThrottleRate', '60']]);
const admission = { secret: Buffer.alloc(32, 7), tableHash: '0011223344556677' };
const allowedUids = new Set([0, process.getuid?.() ?? 0]);
const sink = {
  write: (_level: string, _room: string, text: string): void => void process.stderr.write(`${text}\n`),
};
const log = new Log('bench', sink, new LogThreshold(2));
const handle: AppProcessHandle = {
  pid: 1,
  key: 'bench',
  target: { path: appSocket },
  concurrency: 0,
  startedAt: new Date(),
  reports: false,
  lastOutput: '',
  exited: new Promise(() => undefined),
  onReport: () => undefined,
  shutdown: () => undefined,
  signal: () => undefined,
};
const pool = new Pool({
  spawner: {
    spawn: () => ({
      id: 1,
      pid: undefined,
      ready: Promise.resolve(handle),
      cancel: () => undefined,
      abort: () => undefined,
      hurry: () => undefined,
    }),
  },
  files: { stat: () => Promise.resolve({ exists: false, mtimeNs: 0n, inode: 0n }) },
  memory: { measure: () => Promise.resolve(new Map()) },
  registry: new AppRegistry<AppGroup>(1),
  choose,
  clock: systemClock,
  log,
  server,
});

function front(): Front {
  if (threads === '1') {
    const { gateway, listener } = makeGateway(
      { source: pool, admission, allowedUids, clock: systemClock, log },
      server,
    );
    return new MainThreadFront(gateway, listener);
  }
  const desk = new SessionDesk(pool);
  pool.audience = desk;
  return new GatewayThreads(
    {
      count: Number(threads),
      entry: resolve(__dirname, '../../core/gateway-thread.js'),
      desk,
      allowedUids,
      clockOrigin: clockOrigin(),
      sink,
      pages: { read: () => Promise.resolve(undefined) },
      failures: new PacedLog(log, systemClock),
      duplicate,
      onCrash: (error) => {
        throw error;
      },
    },
    { admission, server },
  );
}

const gateway = front();
const uid = process.getuid?.() ?? 0;
const fd = listenUnix(path, { backlog: 511, uid, gid: process.getgid?.() ?? 0, mode: 0o600 });
void gateway.listen(fd).then(() => process.send?.('ready'));
process.on('message', () => {
  const [processes] = pool.snapshot().groups;
  process.send?.({
    cpu: process.cpuUsage(),
    counters: gateway.counters(),
    processed: processes?.processes[0]?.processed ?? 0,
  });
});
process.on('disconnect', () => process.exit(0));
