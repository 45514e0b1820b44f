/**
 * AppConfig: everything the core knows about one app in one place of the configuration. Frozen, and one object for
 * each distinct content (AppConfigs), so that it can be compared by identity. Which processes may serve it is said
 * by groupKey alone.
 */
import { createHash } from 'node:crypto';
import { BoundedMap } from './bounded-map.js';
import type { AppSettings, RequestSettings } from './settings.js';

/** What the Apache module found in the app root. */
export const FOUND_KINDS = ['node', 'meteor', 'meteor-bundle', 'package', 'passengerfile', ''] as const;
export type FoundKind = (typeof FOUND_KINDS)[number];

export interface AppConfig {
  /** Identity of the app group: its name and a hash of all that makes a different process. */
  readonly groupKey: string;
  /** For people: PassengerAppGroupName, or app root and environment. */
  readonly groupName: string;
  readonly appRoot: string;
  /** `/` when the app is the whole site. */
  readonly baseUri: string;
  readonly documentRoot: string;
  readonly found: FoundKind;
  /** Relative to the app root; empty when nothing was found. */
  readonly foundStartupFile: string;
  /** `NAME=VALUE` of SetEnv and PassEnv, in the order of the configuration. */
  readonly env: readonly string[];
  readonly settings: AppSettings;
}

/** What a request brings along: its app, and what holds for the request alone. */
export interface RequestConfig {
  readonly app: AppConfig;
  readonly request: RequestSettings;
  /** Name of the virtual host, for logs. */
  readonly serverName: string;
}

/** One variable; those of sections and .htaccess (not vhostLevel) do not make a group of their own. */
export interface EnvEntry {
  readonly text: string;
  readonly vhostLevel: boolean;
}

export interface AppFacts {
  readonly appRoot: string;
  readonly baseUri: string;
  readonly documentRoot: string;
  readonly found: FoundKind;
  readonly foundStartupFile: string;
  readonly env: readonly EnvEntry[];
}

/** A hash, because the parts may hold secrets and the key is printed in logs and status. */
function groupKeyOf(groupName: string, facts: AppFacts, settings: AppSettings): string {
  const parts = [
    facts.appRoot,
    settings.appEnv,
    settings.user,
    settings.group,
    settings.nodejs,
    settings.startupFile,
    settings.appType,
    settings.appStartCommand,
    settings.meteorAppSettings,
    ...facts.env.filter((entry) => entry.vhostLevel).map((entry) => entry.text),
  ];
  const hash = createHash('sha256').update(JSON.stringify(parts)).digest('hex');
  return `${groupName}#${hash.slice(0, 16)}`;
}

/** A new frozen AppConfig; where identity matters, take it from AppConfigs instead. */
export function makeAppConfig(facts: AppFacts, settings: AppSettings): AppConfig {
  const groupName =
    settings.appGroupName === '' ? `${facts.appRoot} (${settings.appEnv})` : settings.appGroupName;
  return Object.freeze({
    groupKey: groupKeyOf(groupName, facts, settings),
    groupName,
    appRoot: facts.appRoot,
    baseUri: facts.baseUri,
    documentRoot: facts.documentRoot,
    found: facts.found,
    foundStartupFile: facts.foundStartupFile,
    env: Object.freeze(facts.env.map((entry) => entry.text)),
    settings,
  });
}

/** Hands out one object for equal configurations. Bounded: the ones that were asked for least recently go first. */
export class AppConfigs {
  readonly #known: BoundedMap<AppConfig>;

  constructor(limit: number = 4096) {
    this.#known = new BoundedMap(limit);
  }

  get size(): number {
    return this.#known.size;
  }

  get(facts: AppFacts, settings: AppSettings): AppConfig {
    const canonical = JSON.stringify([facts, settings]);
    const config = this.#known.get(canonical) ?? makeAppConfig(facts, settings);
    this.#known.set(canonical, config);
    return config;
  }
}
