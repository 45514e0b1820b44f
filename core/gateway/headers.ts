/**
 * From a parsed response head to the fields that go out: what belongs to one connection is taken off, what the
 * server adds is added, and the framing of the body is decided. Order and spelling of the app's fields stay.
 */
import { STATUS_CODES } from 'node:http';
import { keptBySharedCaches } from '../routing/sticky-cookie.js';
import { fieldText, headText } from '../wire/head-frame.js';
import { ResponseError } from './response-error.js';
import type { Framing, RawHead, ResponseHead } from './response-head.js';

/** What the request says about its answer. */
export interface HeadRules {
  readonly headMethod: boolean;
  readonly upgradeAsked: boolean;
  /** Value of X-Powered-By, for apps that set none. */
  readonly poweredBy: string;
  /** Set-Cookie of a sticky route. */
  readonly stickyCookie: string | undefined;
}

const DIGITS = /^[0-9]{1,15}$/;
const NONE: ReadonlySet<string> = new Set();

/** What the fields of one head said, collected by `collect`. */
class Collected {
  count = 0;
  fields = '';
  length = -1;
  chunked = false;
  poweredBy = false;
  connection = '';
  keepAlive = '';
}

/**
 * A head that came again (response-parser.ts) has its result already, unless the request had something special.
 * @throws ResponseError
 */
export function responseHead(raw: RawHead, rules: HeadRules): ResponseHead {
  const { stickyCookie } = rules;
  if (rules.headMethod || rules.upgradeAsked || stickyCookie !== undefined) {
    return makeHead(raw, rules, stickyCookie);
  }
  // X-Powered-By changes at a reload only.
  if (raw.plain?.poweredBy !== rules.poweredBy) raw.plain = makeHead(raw, rules, undefined);
  return raw.plain;
}

function makeHead(raw: RawHead, rules: HeadRules, stickyCookie: string | undefined): ResponseHead {
  const status = raw.statusCode;
  let found = new Collected();
  collect(found, raw.headers, NONE, status);
  const named = namedByConnection(found.connection);
  if (named !== NONE) {
    const again = new Collected();
    collect(again, raw.headers, named, status);
    found = again;
  }
  if (found.chunked && found.length >= 0)
    throw new ResponseError('Content-Length and Transfer-Encoding together');
  if (found.chunked && raw.versionMinor === 0) throw new ResponseError('Transfer-Encoding in HTTP/1.0');
  if (status < 200 && raw.versionMinor === 0) throw new ResponseError('interim response in HTTP/1.0');
  if (status === 101 && !rules.upgradeAsked)
    throw new ResponseError('status 101 without a request for an upgrade');
  if (status >= 200) addOurs(found, raw, rules);
  // The 101 of a tunnel is its only answer.
  const final = status >= 200 || status === 101;
  if (stickyCookie !== undefined && final && !keptByOthers(raw.headers)) {
    addField(found, 'Set-Cookie', stickyCookie);
  }
  const framing = framingOf(found, status, rules.headMethod);
  const { connection, count, fields } = found;
  const reason = raw.statusMessage;
  return {
    status,
    reason,
    count,
    fields,
    text: headText({ status, reason, count, fields }),
    poweredBy: rules.poweredBy,
    framing,
    length: Math.max(found.length, 0),
    keepAlive:
      framing !== 'close' && raw.versionMinor === 1 && (connection === '' || !hasToken(connection, 'close')),
    keepAliveSeconds: found.keepAlive === '' ? 0 : keepAliveSeconds(found.keepAlive),
  };
}

function collect(
  to: Collected,
  headers: readonly string[],
  leaveOut: ReadonlySet<string>,
  status: number,
): void {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] ?? '';
    const value = headers[at + 1] ?? '';
    if (special(to, name, value, status)) continue;
    if (leaveOut !== NONE && leaveOut.has(name.toLowerCase())) continue;
    to.count += 1;
    to.fields += fieldText(name, value);
  }
}

/** Handles a field that does not simply go through; the length of the name sorts out nearly all others at once. */
function special(to: Collected, name: string, value: string, status: number): boolean {
  switch (name.length) {
    case 2:
    case 6:
    case 7:
    case 10:
    case 12:
    case 14:
    case 16:
    case 17:
    case 18:
      return specialName(to, name.toLowerCase(), value, status) || isInternal(name);
    default:
      return isInternal(name);
  }
}

/** Names that only our own parts may use between each other. */
function isInternal(name: string): boolean {
  return name.charCodeAt(0) === 0x21 && name.charCodeAt(1) === 0x7e;
}

function specialName(to: Collected, lower: string, value: string, status: number): boolean {
  switch (lower) {
    case 'content-length':
      return contentLength(to, value, status);
    case 'transfer-encoding':
      if (to.chunked || value.toLowerCase() !== 'chunked')
        throw new ResponseError('Transfer-Encoding is not chunked');
      to.chunked = true;
      return true;
    case 'connection':
      to.connection = to.connection === '' ? value : `${to.connection},${value}`;
      return status !== 101;
    case 'upgrade':
      return status !== 101;
    case 'keep-alive':
      to.keepAlive = value;
      return true;
    case 'x-powered-by':
      to.poweredBy = true;
      return false;
    case 'te':
    case 'status':
    case 'trailer':
    case 'proxy-connection':
    case 'proxy-authenticate':
      return true;
    default:
      return false;
  }
}

/** Returns whether the field stays behind: answers that cannot have a body carry no length. */
function contentLength(to: Collected, value: string, status: number): boolean {
  if (to.length >= 0) throw new ResponseError('more than one Content-Length');
  if (!DIGITS.test(value)) throw new ResponseError('Content-Length is not a number');
  to.length = Number(value);
  return status < 200 || status === 204;
}

let lastStatus = 0;
let lastReason = '';
let lastStatusField = '';

function addOurs(to: Collected, raw: RawHead, rules: HeadRules): void {
  if (raw.statusCode !== lastStatus || raw.statusMessage !== lastReason) {
    lastStatus = raw.statusCode;
    lastReason = raw.statusMessage;
    const reason = lastReason === '' ? (STATUS_CODES[lastStatus] ?? '') : lastReason;
    lastStatusField = fieldText('Status', `${lastStatus} ${reason}`.trimEnd());
  }
  to.fields += lastStatusField;
  to.count += 1;
  if (!to.poweredBy) addField(to, 'X-Powered-By', rules.poweredBy);
}

function addField(to: Collected, name: string, value: string): void {
  to.fields += fieldText(name, value);
  to.count += 1;
}

/** Whether a shared cache may answer other clients with this answer. */
function keptByOthers(headers: readonly string[]): boolean {
  const values: string[] = [];
  for (let at = 0; at + 1 < headers.length; at += 2) {
    if (headers[at]?.toLowerCase() === 'cache-control') values.push(headers[at + 1] ?? '');
  }
  return values.length > 0 && keptBySharedCaches(values.join(','));
}

function framingOf(found: Collected, status: number, headMethod: boolean): Framing {
  if (headMethod || status < 200 || status === 204 || status === 304) return 'none';
  if (found.chunked) return 'chunked';
  return found.length >= 0 ? 'length' : 'close';
}

/** The names of fields that the app declared to be for this connection only; NONE in the usual case. */
function namedByConnection(connection: string): ReadonlySet<string> {
  if (connection === '' || connection === 'keep-alive' || connection === 'close') return NONE;
  const names = connection
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => !['', 'close', 'keep-alive', 'upgrade'].includes(name));
  return names.length === 0 ? NONE : new Set(names);
}

function hasToken(list: string, token: string): boolean {
  if (list === token) return true;
  if (list === 'keep-alive') return false;
  return list
    .toLowerCase()
    .split(',')
    .some((part) => part.trim() === token);
}

let lastKeepAlive = '';
let lastKeepAliveSeconds = 0;

function keepAliveSeconds(value: string): number {
  if (value !== lastKeepAlive) {
    lastKeepAlive = value;
    lastKeepAliveSeconds = Number(/(?:^|[\s,;])timeout=(\d{1,6})/i.exec(value)?.[1] ?? '0');
  }
  return lastKeepAliveSeconds;
}
