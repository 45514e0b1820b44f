/** The gateway process of the micro-benchmark: descriptor 3 is a listening socket, IPC tells where the app is. */
import { systemClock } from '../../core/base/clock.js';
import { Log, LogThreshold } from '../../core/base/log.js';
import { makeAppConfig, type RequestConfig } from '../../core/config/app-config.js';
import { ExplicitValues } from '../../core/config/settings.js';
import { Gateway } from '../../core/gateway/gateway.js';
import { Listener } from '../../core/gateway/listener.js';
import type { GatewaySession } from '../../core/gateway/session-source.js';
import { acceptNext, sendBytes } from '../../core/native.js';

const APP_SOCKET = process.argv[2] ?? '';
const facts = {
  appRoot: '/a',
  baseUri: '/',
  documentRoot: '',
  found: 'node',
  foundStartupFile: '',
  env: [],
} as const;
const config: RequestConfig = {
  app: makeAppConfig(facts, new ExplicitValues().settings('app')),
  request: new ExplicitValues().settings('request'),
  serverName: 'bench',
};
const session: GatewaySession = {
  target: { path: APP_SOCKET },
  onDrain: () => undefined,
  close: () => undefined,
};
const source = {
  checkout: () => session,
  reportConnectFailure: () => undefined,
  reportOverdue: () => undefined,
};
const log = new Log(
  'gateway',
  { write: (_level, _room, text) => process.send?.({ log: text }) },
  new LogThreshold(),
);
const gateway = new Gateway(
  { source, settings: { get: () => config }, log, version: '0.1.0', send: sendBytes },
  { dataBufferDir: '', showVersionInHeader: true, responseBufferHighWatermark: 134_217_728 },
);
const listener = new Listener({
  gateway,
  admission: { secret: Buffer.alloc(32, 7), tableHash: '0011223344556677' },
  peerUid: () => 0,
  peerLeft: () => false,
  acceptNext,
  backlog: 511,
  discard: () => undefined,
  allowedUids: new Set([0]),
  clock: systemClock,
});
void listener.listen({ fd: 3 }).then(() => process.send?.('ready'));
process.on('message', (question) => {
  if (question === 'end') process.exit(0);
  process.send?.({ cpu: process.cpuUsage(), rss: process.memoryUsage().rss, counters: gateway.counters });
});
