/**
 * Rows of Phusion Passenger that have no effect here, so that an existing configuration loads (ignored, with one
 * notice at start) or its author reads why not (refused).
 */
import type { InertRow, Scope } from '../directive.js';

const RUBY = 'Ruby apps are not run by Passenger TS';
const PYTHON = 'Python apps are not run by Passenger TS';
const PRELOAD = 'preloading is a matter of Ruby apps; Node.js apps are always started directly';
const PHONE_HOME = 'Passenger TS contacts no server of its makers';
const PANEL =
  'there is no admin panel to connect to; use passenger-status and the metrics of the admin socket';
const UNION = 'the Union Station service does not exist any more';
const OBSOLETE = 'obsolete in Passenger itself, without effect since many versions';
const DIAGNOSIS = 'an aid for developers of Phusion Passenger; use PassengerLogLevel';

interface Shape {
  readonly values?: readonly string[];
  readonly min?: number;
  readonly allowOverride?: 'options';
  readonly status?: InertRow['status'];
}

/** One row. The key is the name without `Passenger`, the reason is also what the reference says about it. */
function inert(
  name: string,
  scope: Scope,
  kind: InertRow['kind'],
  value: string,
  reason: string,
  { status = 'ignored', ...shape }: Shape = {},
): InertRow {
  const bare = name.replace(/^Passenger/, '');
  const key = bare.charAt(0).toLowerCase() + bare.slice(1);
  const verdict = status === 'ignored' ? 'No effect' : 'Not accepted';
  const texts = { summary: `${verdict}: ${reason}`, details: '', example: `${name} ${value}`, reason };
  return { name, key, scope, kind, ...shape, effect: 'none', status, ...texts };
}

export const INERT_DIRECTIVES: readonly InertRow[] = [
  inert(
    'PassengerCtl',
    'server',
    'pair',
    'hook_attached_process /bin/true',
    'options of the core of Phusion Passenger do not exist here',
  ),
  inert('PassengerDumpConfigManifest', 'server', 'path', '/tmp/manifest.json', DIAGNOSIS),
  inert('PassengerFileDescriptorLogFile', 'server', 'path', '/var/log/fd.log', DIAGNOSIS),
  inert('PassengerDefaultRuby', 'server', 'string', '/usr/bin/ruby', RUBY),
  inert('PassengerSpawnDir', 'server', 'path', '/tmp', 'starting an app needs no directory of its own here'),
  inert('PassengerDisableSecurityUpdateCheck', 'server', 'flag', 'on', PHONE_HOME),
  inert('PassengerSecurityUpdateCheckProxy', 'server', 'string', 'http://proxy.example.com:3128', PHONE_HOME),
  inert('PassengerDisableAnonymousTelemetry', 'server', 'flag', 'on', PHONE_HOME),
  inert('PassengerAnonymousTelemetryProxy', 'server', 'string', 'http://proxy.example.com:3128', PHONE_HOME),
  inert(
    'PassengerTurbocaching',
    'server',
    'flag',
    'off',
    'there is no response cache, by design; use mod_cache',
  ),
  inert('PassengerAdminPanelUrl', 'server', 'string', 'ws://panel.example.com', PANEL),
  inert('PassengerAdminPanelAuthType', 'server', 'string', 'basic', PANEL),
  inert('PassengerAdminPanelUsername', 'server', 'string', 'admin', PANEL),
  inert('PassengerAdminPanelPassword', 'server', 'string', 'secret', PANEL),
  inert(
    'PassengerFlyWith',
    'server',
    'path',
    '/run/flying',
    'apps always outlive reloads of Apache and the core; this is the normal mode',
  ),
  inert('PassengerAnalyticsLogUser', 'server', 'string', 'nobody', UNION),
  inert('PassengerAnalyticsLogGroup', 'server', 'string', 'nogroup', UNION),
  inert('PassengerAnalyticsCollectionRate', 'server', 'string', '0', PHONE_HOME),

  inert(
    'PassengerDirectInstanceRequestAddress',
    'app',
    'string',
    '127.0.0.1',
    'apps listen on private sockets only',
  ),
  inert('PassengerSpawnMethod', 'app', 'enum', 'direct', PRELOAD, {
    values: ['smart', 'smart-lv2', 'direct', 'conservative'],
  }),
  inert('PassengerRuby', 'app', 'string', '/usr/bin/ruby', RUBY),
  inert('PassengerPython', 'app', 'string', '/usr/bin/python3', PYTHON),
  inert('PassengerMaxPreloaderIdleTime', 'app', 'int', '300', PRELOAD, { min: 0 }),
  inert('PassengerPreloadBundler', 'app', 'flag', 'off', RUBY),
  inert('PassengerMonitorLogFile', 'app', 'string-set', '/var/log/app.log', PANEL),
  inert('PassengerLveMinUid', 'app', 'int', '500', 'limits of CloudLinux are not entered by Passenger TS', {
    min: 0,
  }),
  inert(
    'PassengerDebugger',
    'app',
    'flag',
    'off',
    'a debugger for Ruby; start Node.js apps with --inspect through NODE_OPTIONS',
  ),
  inert(
    'PassengerConcurrencyModel',
    'app',
    'enum',
    'process',
    'threads for requests are a matter of Ruby apps',
    { values: ['process', 'thread'] },
  ),
  inert('PassengerThreadCount', 'app', 'int', '1', 'threads for requests are a matter of Ruby apps', {
    min: 0,
  }),

  inert('RailsSpawnServer', 'app', 'string', 'x', OBSOLETE),
  inert('RailsAllowModRewrite', 'app', 'flag', 'on', OBSOLETE),
  inert('RailsFrameworkSpawnerIdleTime', 'server', 'string', '0', OBSOLETE),
  inert('PassengerUseGlobalQueue', 'app', 'flag', 'on', OBSOLETE),
  inert('UnionStationGatewayAddress', 'server', 'string', 'gateway.example.com', UNION),
  inert('UnionStationGatewayPort', 'server', 'int', '443', UNION),
  inert('UnionStationGatewayCert', 'server', 'string', '/etc/ssl/cert.pem', UNION),
  inert('UnionStationProxyAddress', 'server', 'string', 'proxy.example.com', UNION),
  inert('UnionStationKey', 'app', 'string', 'key', UNION),
  inert('UnionStationFilter', 'request', 'string-set', '"uri == \'/\'"', UNION, { allowOverride: 'options' }),
  inert('UnionStationSupport', 'app', 'flag', 'off', UNION),

  inert(
    'PassengerTempDir',
    'server',
    'path',
    '/tmp',
    'removed in Passenger 5; use PassengerInstanceRegistryDir',
    { status: 'refused' },
  ),
  inert(
    'PassengerUploadBufferDir',
    'server',
    'path',
    '/tmp',
    'removed in Passenger 5; use PassengerDataBufferDir',
    { status: 'refused' },
  ),
  inert(
    'PassengerResolveSymlinksInDocumentRoot',
    'app',
    'flag',
    'on',
    'removed in Passenger 5.2; use PassengerAppRoot',
    { status: 'refused' },
  ),
];
