/**
 * The cookie of PassengerStickySessions: finds it in a request and writes it for an answer. Pure functions; which
 * process an id means is known to the pool, when the cookie goes out is decided by the gateway.
 *
 * Whatever a client sends may be in the header block: a value counts only when it looks like an id of ours, and only so
 * many are looked at. The first one that names a process of the app wins; apps below each other (`/` and `/shop`)
 * get each other's cookies under the same name.
 */
import type { RequestConfig } from '../config/app-config.js';
import type { RequestSettings } from '../config/settings.js';
import type { StickyWish } from '../pool/session.js';

/** Ids looked at in one request. */
const MOST_IDS = 16;
/** Characters of all Cookie fields of a request that are looked at. */
const MOST_CHARACTERS = 32_768;
const ID = /^[A-Za-z0-9_-]{8,64}$/;
const CR_LF = '\r\n';
const FIELD = 'cookie:';

/**
 * All values of the cookie that may be ids, in the order in which they were sent.
 * @param block header block as in the wire protocol: lines that end with CR LF, the first one is the request line
 */
export function cookieIds(block: Buffer, name: string): readonly string[] {
  const ids = new Set<string>();
  let left = MOST_CHARACTERS;
  let end = block.indexOf(CR_LF);
  while (end >= 0 && left > 0) {
    const at = end + CR_LF.length;
    end = block.indexOf(CR_LF, at);
    const value = at + FIELD.length;
    if (end < value || block.toString('latin1', at, value).toLowerCase() !== FIELD) continue;
    addIds(ids, block.toString('latin1', value, Math.min(end, value + left)), name);
    left -= end - value;
  }
  return [...ids];
}

/**
 * Pairs are separated by `;`. Apache joins several Cookie fields of an HTTP/1.1 request by a comma, which no id
 * contains; a comma inside of somebody else's value is cut there without harm.
 */
function addIds(ids: Set<string>, field: string, name: string): void {
  if (!field.includes(name)) return;
  for (const pair of field.split(/[;,]/)) {
    const equals = pair.indexOf('=');
    if (equals < 0 || pair.slice(0, equals).trim() !== name) continue;
    const value = pair.slice(equals + 1).trim();
    const id = value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    if (ID.test(id)) ids.add(id);
    if (ids.size >= MOST_IDS) return;
  }
}

/** What follows name and id in Set-Cookie, for requests without and with TLS. */
interface Tail {
  readonly plain: string;
  readonly tls: string;
}

const tails = new WeakMap<RequestConfig, Tail>();

/**
 * Value of Set-Cookie for an answer of the process `id`; undefined when the client has its cookie already.
 * @param wish what the request brought along
 */
export function routeCookie(
  config: RequestConfig,
  id: string,
  tls: boolean,
  wish: StickyWish | undefined,
): string | undefined {
  const { stickySessionsCookieName, stickySessionsCookieAttributes } = config.request;
  const known = wish?.ids.includes(id) === true;
  if (known && !expires(stickySessionsCookieAttributes)) return undefined;
  let tail = tails.get(config);
  if (tail === undefined) {
    const path = cookiePath(config.app.baseUri);
    tail = { plain: tailOf(config.request, path, false), tls: tailOf(config.request, path, true) };
    tails.set(config, tail);
  }
  return `${stickySessionsCookieName}=${id}${tls ? tail.tls : tail.plain}`;
}

/** A cookie that ends by itself would end in the middle of a visit, if it were set only once. */
function expires(attributes: string): boolean {
  return /(?:^|;) *(?:max-age|expires) *=/i.test(attributes);
}

function tailOf(settings: RequestSettings, path: string, tls: boolean): string {
  const given = settings.stickySessionsCookieAttributes.replace(/[; ]+$/, '').trimStart();
  const attributes = given === '' ? `HttpOnly; SameSite=Lax${tls ? '; Secure' : ''}` : given;
  return /(?:^|;) *path *=/i.test(attributes) ? `; ${attributes}` : `; Path=${path}; ${attributes}`;
}

/** As the browser will compare it with the path of its requests. */
function cookiePath(baseUri: string): string {
  return encodeURI(baseUri).replace(/[;,]/g, (sign) => encodeURIComponent(sign));
}

/** For answers that anybody's request may be answered with: a route in them would send all clients one way. */
export function keptBySharedCaches(cacheControl: string): boolean {
  const value = cacheControl.toLowerCase();
  if (/(?:^|[\s,])(?:private|no-store|no-cache)(?:$|[\s,=])/.test(value)) return false;
  const shared = /(?:^|[\s,])s-maxage\s*=\s*"?(\d+)/.exec(value);
  if (shared !== null) return Number(shared[1]) > 0;
  if (!/(?:^|[\s,])public(?:$|[\s,])/.test(value)) return false;
  const fresh = /(?:^|[\s,])max-age\s*=\s*"?(\d+)/.exec(value);
  return fresh === null || Number(fresh[1]) > 0;
}
