/**
 * The environment of an app process, built from nothing: nothing of the core's or Apache's own leaks. Pure. The
 * supervisor adds what comes from passwd (HOME, USER, LOGNAME, SHELL, PWD) and LISTEN_FDS, LISTEN_PID.
 */
import type { AppConfig } from '../config/app-config.js';

export interface EnvironmentFacts {
  readonly kind: 'node' | 'detect' | 'meteor' | 'command';
  readonly meteor: boolean;
  /** Where the app's inherited socket is bound. */
  readonly socketPath: string;
  /** For programs that are told a port. */
  readonly port: number | undefined;
  /** Time zone of the server, if it has one. */
  readonly timeZone: string | undefined;
}

export interface AppEnvironment {
  /** `NAME=VALUE`, complete. */
  readonly all: readonly string[];
  /** The part of it that wins over what a login shell's profile sets. */
  readonly winning: readonly string[];
}

type EnvironmentConfig = Pick<AppConfig, 'appRoot' | 'baseUri' | 'env'> & {
  readonly settings: Pick<AppConfig['settings'], 'appEnv'>;
};

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Set by the supervisor or by us; a value of the configuration would break the start. */
const RESERVED = /^(LISTEN_(PID|FDS|FDNAMES)|PASSENGER_APP_(ROOT|SOCKET))$/;

export function appEnvironment(config: EnvironmentConfig, facts: EnvironmentFacts): AppEnvironment {
  // A profile may extend these; everything else is ours to say.
  const base = new Map([
    ['PATH', PATH],
    ['LANG', 'C.UTF-8'],
  ]);
  if (facts.timeZone !== undefined) base.set('TZ', facts.timeZone);
  const winning = new Map([
    ...passengerNames(config),
    ...fromConfiguration(config.env),
    ...forLaunch(config, facts),
  ]);
  return { all: entries(new Map([...base, ...winning])), winning: entries(winning) };
}

function passengerNames(config: EnvironmentConfig): Map<string, string> {
  const { appEnv } = config.settings;
  const names = new Map([
    ['IN_PASSENGER', '1'],
    ['PYTHONUNBUFFERED', '1'],
    ['NODE_ENV', appEnv],
    ['RAILS_ENV', appEnv],
    ['RACK_ENV', appEnv],
    ['WSGI_ENV', appEnv],
    ['PASSENGER_APP_ENV', appEnv],
  ]);
  if (config.baseUri === '/' || config.baseUri === '') return names;
  for (const name of ['PASSENGER_BASE_URI', 'RAILS_RELATIVE_URL_ROOT', 'RACK_BASE_URI']) {
    names.set(name, config.baseUri);
  }
  return names;
}

/** SetEnv and PassEnv, the last value of a name. */
function fromConfiguration(env: readonly string[]): Map<string, string> {
  const values = new Map<string, string>();
  for (const entry of env) {
    const at = entry.indexOf('=');
    const name = entry.slice(0, at);
    if (at < 1 || entry.includes('\0') || RESERVED.test(name)) continue;
    values.set(name, entry.slice(at + 1));
  }
  return values;
}

/** What both ends of the start must agree on; the configuration cannot change it. */
function forLaunch(config: EnvironmentConfig, facts: EnvironmentFacts): Map<string, string> {
  const values = new Map<string, string>();
  if (facts.port !== undefined) values.set('PORT', String(facts.port));
  // One proxy stands before the app. Without this Meteor takes our own address for the client's.
  if (facts.meteor && !config.env.some((entry) => entry.startsWith('HTTP_FORWARDED_COUNT='))) {
    values.set('HTTP_FORWARDED_COUNT', '1');
  }
  if (facts.kind === 'node') {
    // For the preload alone, which takes them away again.
    values.set('PASSENGER_APP_ROOT', config.appRoot);
    values.set('PASSENGER_APP_SOCKET', facts.socketPath);
  }
  return values;
}

function entries(values: ReadonlyMap<string, string>): readonly string[] {
  return [...values].map(([name, value]) => `${name}=${value}`);
}
