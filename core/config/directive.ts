/**
 * The shape of one row of the directive table. What a directive is called, where it may stand, which values it
 * takes and what it means stands in its row and nowhere else; the rows are in directives/*.ts.
 */

/** Where a directive may stand: server only; server, vhost and directory sections; these and .htaccess. */
export type Scope = 'server' | 'app' | 'request';

/** When a changed value takes effect. */
export type Effect = 'restart' | 'reload' | 'next-spawn' | 'next-request' | 'none';

interface RowBase {
  /** As in httpd's configuration. */
  readonly name: string;
  /** The property of the settings objects; also the C name (`maxPoolSize`, `PSG_ID_MAX_POOL_SIZE`). */
  readonly key: string;
  readonly scope: Scope;
  /** Which AllowOverride lets .htaccess set it (scope request only): any but None, or Options. */
  readonly allowOverride?: 'any' | 'options';
  readonly effect: Effect;
  /** True for values that the supervisor takes from Apache's parent alone, never from the core. */
  readonly privileged?: true;
  /** What the reference says instead of a default that depends on something else. */
  readonly defaultText?: string;
  /** Option of the command line, where there is one. */
  readonly cli?: string;
  /** One line for `apache2 -L` and the reference, without a full stop. */
  readonly summary: string;
  readonly details: string;
  /** One legal use. */
  readonly example: string;
}

interface FlagKind {
  readonly kind: 'flag';
  /** Undefined: depends on another setting (see settings.ts). */
  readonly default: boolean | undefined;
}
interface IntKind {
  readonly kind: 'int';
  readonly default: number;
  readonly min: number;
  readonly max: number;
  readonly unit?: 's' | 'MB' | 'bytes' | '%';
}
/**
 * A `path` is absolute; what is relative to the app root is a `string`. Empty means none. `token` and
 * `cookie-attributes` go into header fields: printable ASCII, of bounded length (value.ts).
 */
interface TextKind {
  readonly kind: 'string' | 'path' | 'token' | 'cookie-attributes';
  readonly default: string;
}
interface EnumKind {
  readonly kind: 'enum';
  /** One of `values`, or the empty text for none. */
  readonly default: string;
  readonly values: readonly string[];
  /** Further spellings, and the value that each stands for. */
  readonly synonyms?: Readonly<Record<string, string>>;
}
/** May be repeated, one value each time; a more specific section replaces the whole set. */
interface SetKind {
  readonly kind: 'uri-set' | 'string-set' | 'path-set';
  readonly default: readonly string[];
}

/** A row with a meaning: `planned` is accepted now and gets its effect in a later version. */
export type SettingRow = RowBase & { readonly status: 'supported' | 'planned' } & (
    FlagKind | IntKind | TextKind | EnumKind | SetKind
  );

/** A row without a setting: accepted with one notice at start, or refused; `reason` says why. */
export interface InertRow extends RowBase {
  readonly status: 'ignored' | 'refused';
  readonly kind: 'flag' | 'int' | 'string' | 'path' | 'enum' | 'string-set' | 'pair';
  readonly values?: readonly string[];
  readonly min?: number;
  readonly effect: 'none';
  readonly reason: string;
}

/** Another name for a row; it takes kind, bounds and scope from its target. */
export interface AliasRow {
  readonly name: string;
  readonly status: 'alias';
  readonly aliasOf: string;
  readonly summary: string;
  readonly example: string;
}

export type Directive = SettingRow | InertRow | AliasRow;

/** Seconds that still fit into a timer of 31 bits of milliseconds. */
export const MAX_SECONDS = 2_147_483;
/** Passenger's own upper bound of numbers. */
export const MAX_INT = 2_147_483_647;
