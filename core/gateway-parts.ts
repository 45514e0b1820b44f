/** Puts one gateway together, for the main thread of the core (core.ts) and for each gateway thread alike. */
import type { Clock } from './base/clock.js';
import type { Log } from './base/log.js';
import type { PacedSink } from './base/paced-log.js';
import { SettingsCache } from './config/settings-cache.js';
import type { ServerSettings } from './config/settings.js';
import { Gateway } from './gateway/gateway.js';
import { Listener } from './gateway/listener.js';
import type { SessionSource } from './gateway/session-source.js';
import type { Admission } from './gateway/shim-connection.js';
import { peerCredentials, peerLeft } from './native.js';
import { VERSION } from './version.js';

export interface GatewaySurroundings {
  readonly source: SessionSource;
  readonly admission: Admission;
  readonly allowedUids: ReadonlySet<number>;
  readonly clock: Clock;
  readonly log: Log;
  /** See GatewayParts. */
  readonly failures?: PacedSink;
}

export function makeGateway(
  { source, admission, allowedUids, clock, log, failures }: GatewaySurroundings,
  server: ServerSettings,
): { gateway: Gateway; listener: Listener } {
  const gateway = new Gateway(
    { source, settings: new SettingsCache(), log, failures, version: VERSION },
    server,
  );
  const listener = new Listener({
    gateway,
    admission,
    peerUid: (fd) => peerCredentials(fd).uid,
    peerLeft,
    allowedUids,
    clock,
  });
  return { gateway, listener };
}
