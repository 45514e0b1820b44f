/**
 * What kind of program an app is: a pure decision from its configuration and from what the Apache module found in the
 * app root. Explicit settings come first, then Passenger's own order of detection, then ours. Called by spawn-run.ts.
 */
import path from 'node:path';
import { PassengerError } from '../base/errors.js';
import type { AppConfig } from '../config/app-config.js';

export type AppType =
  | { readonly kind: 'node'; readonly startupFile: string; readonly meteorBundle: boolean }
  /** A Node app whose startup file has to be looked up by a process that runs as the app's user. */
  | { readonly kind: 'detect' }
  | { readonly kind: 'meteor' }
  | { readonly kind: 'command' };

const MAX_PATH = 4096;

type Decision = Pick<AppConfig, 'appRoot' | 'found' | 'foundStartupFile'> & {
  readonly settings: Pick<AppConfig['settings'], 'appType' | 'startupFile' | 'appStartCommand'>;
};

/** @throws PassengerError PSG6001, PSG6002, PSG6003 */
export function decideAppType(app: Decision): AppType {
  const { appType, startupFile, appStartCommand } = app.settings;
  if (appStartCommand !== '') return { kind: 'command' };
  if (startupFile !== '') {
    return nodeApp(startupFileBeneath(app.appRoot, startupFile), app.found === 'meteor-bundle');
  }
  if (appType === 'meteor' && app.found !== 'meteor-bundle') return { kind: 'meteor' };
  switch (app.found) {
    case 'node':
      return nodeApp(app.foundStartupFile === '' ? 'app.js' : app.foundStartupFile, false);
    case 'meteor-bundle':
      return nodeApp(app.foundStartupFile === '' ? 'main.js' : app.foundStartupFile, true);
    case 'package':
      return { kind: 'detect' };
    case 'meteor':
      return appType === 'node' ? { kind: 'detect' } : { kind: 'meteor' };
    case 'passengerfile':
      if (appType === 'node') return { kind: 'detect' };
      throw new PassengerError('PSG6002', { appRoot: app.appRoot });
    default:
      if (appType === 'node') return { kind: 'detect' };
      throw new PassengerError('PSG6001', { appRoot: app.appRoot });
  }
}

function nodeApp(startupFile: string, meteorBundle: boolean): AppType {
  return { kind: 'node', startupFile, meteorBundle };
}

/**
 * A startup file that somebody named, relative to the app root.
 * @throws PassengerError PSG6003
 */
export function startupFileBeneath(appRoot: string, startupFile: string): string {
  const relative = path.isAbsolute(startupFile)
    ? path.relative(appRoot, startupFile)
    : path.normalize(startupFile);
  // A NUL would make the whole message to the supervisor unreadable.
  const impossible = startupFile.includes('\0') || startupFile.length > MAX_PATH;
  if (impossible || relative === '' || relative === '.' || relative === '..' || relative.startsWith('../')) {
    throw new PassengerError('PSG6003', { appRoot, startupFile });
  }
  return relative;
}
