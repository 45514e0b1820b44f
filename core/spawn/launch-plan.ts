/**
 * The fields of a SPAWN record for one process: a pure function of the app's configuration, its type and the few
 * choices made at run time. Who the process runs as is the supervisor's decision; we only name the reference file.
 */
import { PassengerError } from '../base/errors.js';
import type { AppConfig } from '../config/app-config.js';
import type { SpawnKind } from '../supervisor/messages.js';
import { decideAppType, type AppType } from './app-type.js';
import { appEnvironment } from './environment.js';

export interface LaunchPlan {
  readonly kind: SpawnKind;
  readonly appRoot: string;
  readonly startupFile: string;
  readonly user: string;
  readonly group: string;
  readonly nodejs: string;
  readonly startCommand: string;
  readonly env: readonly string[];
  readonly winningEnv: readonly string[];
  readonly loadShellEnvvars: number;
  readonly referenceFile: string;
  readonly meteorAppSettings: string;
  readonly appEnv: string;
  readonly noNewPrivileges: string;
}

export interface LaunchChoices {
  readonly socketPath: string;
  readonly port: number | undefined;
  readonly timeZone: string | undefined;
}

export function launchPlan(config: AppConfig, type: AppType, choices: LaunchChoices): LaunchPlan {
  const { settings } = config;
  const { kind } = type;
  const meteor = kind === 'meteor' || (kind === 'node' && type.meteorBundle);
  const environment = appEnvironment(config, { kind, meteor, ...choices });
  return {
    kind,
    appRoot: config.appRoot,
    startupFile: kind === 'node' ? type.startupFile : '',
    user: settings.user,
    group: settings.group,
    nodejs: settings.nodejs,
    startCommand: kind === 'command' ? settings.appStartCommand : '',
    env: environment.all,
    winningEnv: environment.winning,
    // Looking for a file needs no profile, and a slow one would be paid twice.
    loadShellEnvvars: settings.loadShellEnvvars && kind !== 'detect' ? 1 : 0,
    referenceFile: referenceFile(config, type),
    meteorAppSettings: kind === 'meteor' ? settings.meteorAppSettings : '',
    appEnv: settings.appEnv,
    noNewPrivileges: settings.noNewPrivileges ? '' : 'off',
  };
}

/** Whose owner the process runs as, relative to the app root; empty means the app root itself. */
function referenceFile(config: AppConfig, type: AppType): string {
  switch (type.kind) {
    case 'node':
      return type.startupFile;
    case 'meteor':
      return config.found === 'meteor' ? '.meteor' : '';
    case 'detect':
      return config.found === 'package' ? 'package.json' : '';
    case 'command':
      return '';
  }
}

/** The same before the app is started, or when it cannot be: as much as the configuration says. */
export function ownerFile(config: AppConfig): string {
  try {
    return referenceFile(config, decideAppType(config));
  } catch (error) {
    // No app there, or none that may be run: the app root has an owner all the same.
    if (error instanceof PassengerError) return '';
    throw error;
  }
}
