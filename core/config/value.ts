/**
 * From the canonical text of a directive's value to the value, checked against its row. The Apache module has made
 * the same checks when it read its configuration; here they guard against a module of another build.
 */
import { PassengerError } from '../base/errors.js';
import type { SettingRow } from './directive.js';

/** What one line of the configuration sets; a set gets one string from each line. */
export type ScalarValue = boolean | number | string;
export type Value = ScalarValue | readonly string[];

const INTEGER = /^-?(?:0|[1-9]\d{0,9})$/;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/;

function illegal(row: SettingRow, expected: string): PassengerError {
  return new PassengerError('PSG2002', { directive: row.name, expected });
}

function parseFlag(row: SettingRow, text: string): boolean {
  if (text !== 'on' && text !== 'off') throw illegal(row, 'on or off');
  return text === 'on';
}

function parseInteger(row: SettingRow & { kind: 'int' }, text: string): number {
  const value = Number(text);
  if (!INTEGER.test(text) || value < row.min || value > row.max) {
    throw illegal(row, `a whole number from ${row.min} to ${row.max}`);
  }
  return value;
}

function parseEnum(row: SettingRow & { kind: 'enum' }, text: string): string {
  const value = row.synonyms?.[text] ?? text;
  if (!row.values.includes(value)) throw illegal(row, `one of ${row.values.join(', ')}`);
  return value;
}

function parseText(row: SettingRow, text: string): string {
  if (CONTROL.test(text)) throw illegal(row, 'text without control characters');
  return text;
}

/** As in RFC 9110; what names of fields and cookies are made of. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;
/** `NAME` or `NAME=VALUE`, as it goes into Set-Cookie. */
const COOKIE_ATTRIBUTE = /^ *[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:=[ -:<-~]*)? *$/;
const MAX_ATTRIBUTES = 1024;

function parseToken(row: SettingRow, text: string): string {
  if (!TOKEN.test(text)) throw illegal(row, 'a token of at most 64 characters');
  return text;
}

function parseCookieAttributes(row: SettingRow, text: string): string {
  const legal = text.split(';').every((part) => /^ *$/.test(part) || COOKIE_ATTRIBUTE.test(part));
  if (text.length > MAX_ATTRIBUTES || !legal)
    throw illegal(row, 'attributes of a cookie, separated by semicolons');
  return text;
}

function parsePath(row: SettingRow, text: string): string {
  if (text !== '' && !text.startsWith('/')) throw illegal(row, 'an absolute path');
  return parseText(row, text);
}

function parseUri(row: SettingRow, text: string): string {
  const legal = text.startsWith('/') && (text === '/' || !text.endsWith('/'));
  if (!legal) throw illegal(row, 'a path that starts with / and does not end with one');
  return parseText(row, text);
}

/** @throws PassengerError PSG2002, which names the directive and what is expected, never the value */
export function parseValue(row: SettingRow, text: string): ScalarValue {
  switch (row.kind) {
    case 'flag':
      return parseFlag(row, text);
    case 'int':
      return parseInteger(row, text);
    case 'enum':
      return parseEnum(row, text);
    case 'path':
    case 'path-set':
      return parsePath(row, text);
    case 'token':
      return parseToken(row, text);
    case 'cookie-attributes':
      return parseCookieAttributes(row, text);
    case 'uri-set':
      return parseUri(row, text);
    case 'string':
    case 'string-set':
      return parseText(row, text);
  }
}

export function isSet(row: SettingRow): boolean {
  return row.kind.endsWith('-set');
}
