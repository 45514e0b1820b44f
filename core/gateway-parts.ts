/** Puts one gateway together, for the main thread of the core (core.ts) and for each gateway thread alike. */
import { availableParallelism, totalmem } from 'node:os';
import process from 'node:process';
import type { Clock } from './base/clock.js';
import type { Log } from './base/log.js';
import type { PacedSink } from './base/paced-log.js';
import { SettingsCache } from './config/settings-cache.js';
import type { ServerSettings } from './config/settings.js';
import { bodyMemoryShare } from './gateway/body-memory.js';
import type { PageSource } from './gateway/error-page.js';
import { Gateway } from './gateway/gateway.js';
import { Listener } from './gateway/listener.js';
import type { SessionSource } from './gateway/session-source.js';
import type { Admission } from './gateway/shim-connection.js';
import { acceptNext, discardPages, peerCredentials, peerLeft, sendBytes, widenSendBuffer } from './native.js';
import { gatewayThreadCount } from './threads/thread-count.js';
import { VERSION } from './base/version.js';

export interface GatewaySurroundings {
  readonly source: SessionSource;
  readonly pages?: PageSource;
  readonly admission: Admission;
  readonly allowedUids: ReadonlySet<number>;
  readonly clock: Clock;
  readonly log: Log;
  /** See GatewayParts. */
  readonly failures?: PacedSink;
  /** See ListenerOptions. */
  readonly moreAtOnce?: number;
}

export function makeGateway(
  { source, pages, admission, allowedUids, clock, log, failures, moreAtOnce }: GatewaySurroundings,
  server: ServerSettings,
): { gateway: Gateway; listener: Listener } {
  const threads = gatewayThreadCount(server.gatewayThreads, availableParallelism());
  const bodyMemory = bodyMemoryShare(availableMemory(), threads);
  const settings = new SettingsCache();
  const parts = { source, pages, settings, log, failures, version: VERSION, bodyMemory };
  const gateway = new Gateway({ ...parts, send: sendBytes, widen: widenSendBuffer }, server);
  const listener = new Listener({
    gateway,
    admission,
    peerUid: (fd) => peerCredentials(fd).uid,
    peerLeft,
    acceptNext,
    backlog: server.socketBacklog,
    discard: discardPages,
    allowedUids,
    clock,
    moreAtOnce,
  });
  return { gateway, listener };
}

/** Bytes that the machine has, or that the container may have. */
function availableMemory(): number {
  const allowed = process.constrainedMemory();
  // Without a limit it is 0, or a number beyond all machines.
  return allowed === 0 ? totalmem() : Math.min(allowed, totalmem());
}
