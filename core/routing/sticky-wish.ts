/**
 * Which process a request asks for: by the cookie of PassengerStickySessions, or by the session of SockJS in its URL, for
 * clients that send no cookie. Called by the gateway for places that have sticky sessions on. Pure.
 */
import type { RequestSettings } from '../config/settings.js';
import type { StickyWish } from '../pool/session.js';
import { cookieIds } from './sticky-cookie.js';

/** Transports of SockJS whose sessions last longer than a request; a WebSocket is its own session. */
const TRANSPORTS: ReadonlySet<string> = new Set([
  'xhr',
  'xhr_send',
  'xhr_streaming',
  'jsonp',
  'jsonp_send',
  'eventsource',
  'htmlfile',
]);
const MOST_SESSION_CHARACTERS = 64;
const NO_IDS: readonly string[] = [];

/** @returns undefined when any process will do */
export function stickyWish(settings: RequestSettings, headerBlock: Buffer): StickyWish | undefined {
  const ids = cookieIds(headerBlock, settings.stickySessionsCookieName);
  const session = sockjsSession(headerBlock);
  if (session === undefined) return ids.length === 0 ? undefined : { ids };
  return { ids: ids.length === 0 ? NO_IDS : ids, session };
}

/**
 * The session in `/prefix/<server>/<session>/<transport>`. SockJS ignores <server>, and clients may change it.
 * @param block header block as in the wire protocol
 */
export function sockjsSession(block: Buffer): string | undefined {
  const start = block.indexOf(' ') + 1;
  const end = block.indexOf(' ', start);
  if (start < 1 || end < 0) return undefined;
  const target = block.toString('latin1', start, end);
  const query = target.indexOf('?');
  const path = query < 0 ? target : target.slice(0, query);
  const [, session = '', transport = ''] = /\/[^/.]+\/([^/.]+)\/([a-z_]+)\/?$/.exec(path) ?? [];
  if (!TRANSPORTS.has(transport) || session.length > MOST_SESSION_CHARACTERS) return undefined;
  return session;
}
