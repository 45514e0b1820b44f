/**
 * Settings objects, one type for each scope, inferred from the directive table: every key is there, with its
 * default where nobody set it. Rows that are ignored, refused or aliases have no key.
 */
import type { Scope, SettingRow } from './directive.js';
import { SETTING_DIRECTIVES } from './directives.js';
import { isSet, parseValue, type Value } from './value.js';

type TypedRow = (typeof SETTING_DIRECTIVES)[number];

type ValueOf<Row> = Row extends { kind: 'flag' }
  ? boolean
  : Row extends { kind: 'int' }
    ? number
    : Row extends { kind: 'enum'; values: readonly (infer V)[]; default: infer D }
      ? V | D
      : Row extends { kind: 'uri-set' | 'string-set' | 'path-set' }
        ? readonly string[]
        : string;

export type Settings<S extends Scope> = {
  readonly [Row in Extract<TypedRow, { scope: S }> as Row['key']]: ValueOf<Row>;
};

export type ServerSettings = Settings<'server'>;
export type AppSettings = Settings<'app'>;
export type RequestSettings = Settings<'request'>;

/** Defaults that depend on other settings; their rows have the default `undefined`. */
const DERIVED_DEFAULTS: Readonly<Record<string, (settings: Readonly<Record<string, Value>>) => Value>> = {
  friendlyErrorPages: (settings) => settings['appEnv'] === 'development',
};

/** Values that were set explicitly, as they are read one after the other. */
export class ExplicitValues {
  readonly #values = new Map<string, Value>();

  /**
   * Takes one line: replaces a single value, adds to a set. The Apache module joins the values of a set by line
   * ends, which no value can hold.
   * @throws PassengerError PSG2002
   */
  add(row: SettingRow, text: string): void {
    if (!isSet(row)) {
      this.#values.set(row.key, parseValue(row, text));
      return;
    }
    const added = text.split('\n').map((line) => String(parseValue(row, line)));
    this.#values.set(row.key, Object.freeze([...this.#elements(row.key), ...added]));
  }

  #elements(key: string): readonly string[] {
    const known = this.#values.get(key);
    return Array.isArray(known) ? (known as readonly string[]) : [];
  }

  /** The frozen settings of one scope; keys stand in the order of the table, so that equal ones print equally. */
  settings<S extends Scope>(scope: S): Settings<S> {
    const rows: readonly SettingRow[] = SETTING_DIRECTIVES;
    const settings: Record<string, Value> = {};
    const derived: string[] = [];
    for (const row of rows) {
      if (row.scope !== scope) continue;
      const value = this.#values.get(row.key) ?? row.default;
      if (value === undefined) derived.push(row.key);
      else settings[row.key] = value;
    }
    for (const key of derived) settings[key] = DERIVED_DEFAULTS[key]?.(settings) ?? false;
    // The loop above fills exactly the keys that the mapped type names, with values that parseValue has checked.
    return Object.freeze(settings) as Settings<S>;
  }
}

/** Settings of a scope from pairs of key and canonical text, for instance the options of a command. */
export function settingsFrom<S extends Scope>(
  scope: S,
  texts?: Readonly<Partial<Record<keyof Settings<S> & string, string | readonly string[]>>>,
): Settings<S> {
  const rows: readonly SettingRow[] = SETTING_DIRECTIVES;
  const given: Readonly<Record<string, string | readonly string[] | undefined>> = texts ?? {};
  const values = new ExplicitValues();
  for (const row of rows) {
    const text = given[row.key];
    if (row.scope !== scope || text === undefined) continue;
    for (const line of [text].flat()) values.add(row, line);
  }
  return values.settings(scope);
}
