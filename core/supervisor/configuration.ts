/**
 * What the supervisor takes from Apache's CONFIG: the few settings that concern it, and the list of values that a
 * core may name. Pure. Which directives exist is the table's business (core/config); names here are canonical.
 */
import { PassengerError } from '../base/errors.js';
import type { Message } from './messages.js';

export const DEFAULT_USER = 'nobody';

/** Settings whose value decides over programs and identities: only values that Apache sent are ever used. */
export const PRIVILEGED = {
  nodejs: 'PassengerNodejs',
  startCommand: 'PassengerAppStartCommand',
  user: 'PassengerUser',
  group: 'PassengerGroup',
  meteorAppSettings: 'PassengerMeteorAppSettings',
  noNewPrivileges: 'PassengerNoNewPrivileges',
  appLogFile: 'PassengerAppLogFile',
  customErrorPage: 'PassengerCustomErrorPage',
} as const;
export type PrivilegedSetting = keyof typeof PRIVILEGED;

export class Configuration {
  readonly #settings: ReadonlyMap<string, string>;
  readonly #allowed = new Map<string, Set<string>>();

  constructor(readonly message: Message<'CONFIG'>) {
    this.#settings = new Map(message.settings);
    for (const [name, value] of message.privileged) {
      const values = this.#allowed.get(name) ?? new Set<string>();
      values.add(value);
      this.#allowed.set(name, values);
    }
  }

  get userSwitching(): boolean {
    return this.#settings.get('PassengerUserSwitching') !== 'off';
  }

  get defaultUser(): string {
    return this.#settings.get('PassengerDefaultUser') ?? DEFAULT_USER;
  }

  /** Empty: the primary group of the default user. */
  get defaultGroup(): string {
    return this.#settings.get('PassengerDefaultGroup') ?? '';
  }

  get socketBacklog(): number {
    const value = Number(this.#settings.get('PassengerSocketBacklog') ?? '2048');
    return Number.isInteger(value) && value > 0 ? value : 2048;
  }

  get logLevel(): number {
    return Number(this.#settings.get('PassengerLogLevel') ?? '3');
  }

  /** Empty: Apache's error log. */
  get logFile(): string {
    return this.#settings.get('PassengerLogFile') ?? '';
  }

  /**
   * An empty value means the default and is always allowed.
   * @throws PassengerError PSG7015
   */
  mustAllow(setting: PrivilegedSetting, value: string): void {
    const directive = PRIVILEGED[setting];
    if (value === '' || this.#allowed.get(directive)?.has(value) === true) return;
    throw new PassengerError('PSG7015', { directive, value });
  }
}
