/**
 * From a SPAWN message to what is executed: program, arguments, environment. Pure: no file is looked at. Values
 * of the environment never stand in arguments, where other users could read them.
 */
import path from 'node:path';
import type { UserFacts } from '../native.js';
import { SPAWN_KINDS, type Message, type SpawnKind } from './messages.js';
import { malformed } from './records.js';

export interface LaunchFacts {
  /** The account that the app runs as; undefined when nobody knows it (a uid without an account). */
  readonly user: UserFacts | undefined;
  /** App root without symlinks: what was examined is what is run. */
  readonly rootPath: string;
  readonly loaders: string;
  /** Absolute path of the program `node`. */
  readonly node: string;
}

export interface Launch {
  readonly file: string;
  readonly argv: string[];
  readonly env: string[];
  readonly cwd: string;
  readonly mustRead: string;
}

/** Shells that understand `-lc` and `"$@"`; with any other the environment is not loaded, as in Passenger. */
const LOGIN_SHELLS: ReadonlySet<string> = new Set(['bash', 'zsh', 'ksh', 'sh', 'dash']);
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** Carries a value past the shell's profile under another name. */
const CARRIER = 'PASSENGER_WINNING_';

export function spawnKind(message: Message<'SPAWN'>): SpawnKind {
  const kind = SPAWN_KINDS.find((name) => name === message.kind);
  if (kind === undefined) throw malformed('unknown kind of app');
  return kind;
}

function split(entry: string): [string, string] {
  const at = entry.indexOf('=');
  if (at < 1) throw malformed('environment entry without a name');
  return [entry.slice(0, at), entry.slice(at + 1)];
}

function programOf(message: Message<'SPAWN'>, facts: LaunchFacts): string[] {
  switch (spawnKind(message)) {
    case 'node':
      return [
        facts.node,
        '--require',
        path.join(facts.loaders, 'preload.cjs'),
        path.join(facts.rootPath, message.startupFile),
      ];
    case 'detect':
      return [facts.node, path.join(facts.loaders, 'detect.cjs')];
    case 'command':
      return ['/bin/sh', '-c', `exec ${message.startCommand}`];
    case 'meteor': {
      const production = message.appEnv === 'production' ? ' --production' : '';
      const settings = message.meteorAppSettings === '' ? '' : ' --settings "$1"';
      const command = `exec meteor run --port "$PORT"${production}${settings}`;
      return ['/bin/sh', '-c', command, 'meteor', ...(settings === '' ? [] : [message.meteorAppSettings])];
    }
  }
}

function environmentOf(message: Message<'SPAWN'>, user: UserFacts | undefined): Map<string, string> {
  const env = new Map<string, string>();
  if (user !== undefined) {
    env.set('HOME', user.home).set('USER', user.name).set('LOGNAME', user.name);
    env.set('SHELL', user.shell === '' ? '/bin/sh' : user.shell);
  }
  env.set('PWD', message.appRoot);
  for (const [name, value] of message.env.map(split)) {
    if (!name.startsWith('LISTEN_')) env.set(name, value);
  }
  return env.set('LISTEN_FDS', '1');
}

/** Wraps `program` into the user's login shell, which may change everything but the winning variables. */
function throughShell(
  shell: string,
  program: readonly string[],
  env: Map<string, string>,
  winning: readonly string[],
): string[] {
  const names = winning.map((entry) => split(entry)[0]).filter((name) => VARIABLE.test(name));
  names.forEach((name, index) => env.set(`${CARRIER}${index}`, env.get(name) ?? ''));
  const exports = names.map(
    (name, index) => `export ${name}="$${CARRIER}${index}"; unset ${CARRIER}${index}; `,
  );
  return [shell, '-lc', `${exports.join('')}exec "$@"`, 'passenger', ...program];
}

function loginShell(message: Message<'SPAWN'>, user: UserFacts | undefined): string | undefined {
  if (message.loadShellEnvvars === 0 || user === undefined) return undefined;
  const shell = user.shell === '' ? '/bin/sh' : user.shell;
  return path.isAbsolute(shell) && LOGIN_SHELLS.has(path.basename(shell)) ? shell : undefined;
}

export function buildLaunch(message: Message<'SPAWN'>, facts: LaunchFacts): Launch {
  const program = programOf(message, facts);
  const env = environmentOf(message, facts.user);
  const shell = loginShell(message, facts.user);
  const argv = shell === undefined ? program : throughShell(shell, program, env, message.winningEnv);
  return {
    file: argv[0] ?? facts.node,
    argv,
    env: [...env].map(([name, value]) => `${name}=${value}`),
    cwd: facts.rootPath,
    mustRead: message.kind === 'node' ? path.join(facts.rootPath, message.startupFile) : '',
  };
}
