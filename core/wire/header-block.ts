/**
 * Is a header block one request head, and nothing else? The core asks this of every REQUEST before a byte of the block goes to
 * an app, so that neither an Apache child that was taken over nor a module that puts line ends into a field can smuggle
 * a second request into a connection that other clients use too. What the request says is none of its business.
 *
 * Costs about a nanosecond a byte (core/gateway/README.md): one pass, no string, no object.
 */
import { WireError } from './frames.js';

const CR = 0x0d;
const LF = 0x0a;
const SP = 0x20;
const COLON = 0x3a;

/** Bits of CLASS: may stand in a name or method, in a target, in a value. */
const TOKEN = 1;
const TARGET = 2;
const VALUE = 4;

const CLASS = new Uint8Array(256);
for (let code = 0; code < 256; code += 1) {
  if (code > SP && code !== 0x7f) CLASS[code] = TARGET | VALUE;
}
CLASS[SP] = VALUE;
CLASS[0x09] = VALUE;
for (const char of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  CLASS[char.charCodeAt(0)] = TOKEN | TARGET | VALUE;
}

const VERSION = ' HTTP/1.1\r\n';

/** Fields that decide how long the request is: the core writes them itself. */
const FRAMING = ['content-length', 'transfer-encoding'];
/** Fields of one connection: there only where the request asks for an upgrade. */
const UPGRADING = ['connection', 'upgrade'];

/**
 * @param bytes from `start` to the end
 * @throws WireError
 */
export function checkHeaderBlock(bytes: Buffer, start: number, upgrade: boolean): void {
  const end = bytes.length;
  let at = requestLineEnd(bytes, start, end);
  while (at < end) {
    const colon = classEnd(bytes, at, end, TOKEN);
    if (colon === at || bytes[colon] !== COLON) throw new WireError('field name in the header block');
    checkName(bytes, at, colon, upgrade);
    at = classEnd(bytes, colon + 1, end, VALUE);
    if (bytes[at] !== CR || bytes[at + 1] !== LF) throw new WireError('field value in the header block');
    at += 2;
  }
}

/** The position behind the bytes of a class. */
function classEnd(bytes: Buffer, start: number, end: number, wanted: number): number {
  let at = start;
  while (at < end && ((CLASS[bytes[at] ?? 0] ?? 0) & wanted) !== 0) at += 1;
  return at;
}

function requestLineEnd(bytes: Buffer, start: number, end: number): number {
  const method = classEnd(bytes, start, end, TOKEN);
  const target = classEnd(bytes, method + 1, end, TARGET);
  if (method === start || bytes[method] !== SP || target === method + 1 || target + VERSION.length > end)
    throw new WireError('request line in the header block');
  for (let n = 0; n < VERSION.length; n += 1) {
    if (bytes[target + n] !== VERSION.charCodeAt(n)) throw new WireError('version in the header block');
  }
  return target + VERSION.length;
}

function checkName(bytes: Buffer, start: number, end: number, upgrade: boolean): void {
  const length = end - start;
  if (length !== 7 && length !== 10 && length !== 14 && length !== 17) return;
  if (FRAMING.some((name) => isName(bytes, start, length, name)))
    throw new WireError('framing in the header block');
  if (!upgrade && UPGRADING.some((name) => isName(bytes, start, length, name)))
    throw new WireError('hop-by-hop field in the header block');
}

function isName(bytes: Buffer, start: number, length: number, name: string): boolean {
  if (length !== name.length) return false;
  for (let n = 0; n < length; n += 1) {
    if (((bytes[start + n] ?? 0) | 0x20) !== name.charCodeAt(n)) return false;
  }
  return true;
}
