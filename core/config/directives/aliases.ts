/** Older names; each means exactly what its target means. */
import type { AliasRow } from '../directive.js';

function alias(name: string, aliasOf: string, value: string): AliasRow {
  return { name, status: 'alias', aliasOf, summary: `Older name of ${aliasOf}`, example: `${name} ${value}` };
}

export const ALIASES: readonly AliasRow[] = [
  alias('RailsEnv', 'PassengerAppEnv', 'production'),
  alias('RackEnv', 'PassengerAppEnv', 'production'),
  alias('RailsRuby', 'PassengerRuby', '/usr/bin/ruby'),
  alias('PassengerDebugLogFile', 'PassengerLogFile', '/var/log/apache2/passenger.log'),
  alias('RailsMaxPoolSize', 'PassengerMaxPoolSize', '6'),
  alias('RailsMaxInstancesPerApp', 'PassengerMaxInstancesPerApp', '3'),
  alias('RailsPoolIdleTime', 'PassengerPoolIdleTime', '300'),
  alias('RailsUserSwitching', 'PassengerUserSwitching', 'on'),
  alias('RailsDefaultUser', 'PassengerDefaultUser', 'nobody'),
  alias('RailsAppSpawnerIdleTime', 'PassengerMaxPreloaderIdleTime', '300'),
  alias('RailsBaseURI', 'PassengerBaseURI', '/rails'),
  alias('RackBaseURI', 'PassengerBaseURI', '/rack'),
  alias('RailsSpawnMethod', 'PassengerSpawnMethod', 'direct'),
];
