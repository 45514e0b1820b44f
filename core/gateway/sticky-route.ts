/**
 * The route of one request in a place with PassengerStickySessions: what the pool is asked for, and the cookie that its
 * answer carries. Made by the exchange, which sends the request and decides about retries.
 */
import type { RequestConfig } from '../config/app-config.js';
import type { StickyWish } from '../pool/session.js';
import { routeCookie } from '../routing/sticky-cookie.js';
import { stickyWish } from '../routing/sticky-wish.js';
import type { GatewaySession } from './session-source.js';

export class StickyRoute {
  /** What the client has sent; undefined: any process will do. */
  #wish: StickyWish | undefined;

  constructor(
    private readonly config: RequestConfig,
    headerBlock: Buffer,
    private readonly tls: boolean,
  ) {
    this.#wish = stickyWish(config.request, headerBlock);
  }

  get wish(): StickyWish | undefined {
    return this.#wish;
  }

  /** The process that it leads to has gone, even if the pool should not know yet. */
  leave(): void {
    this.#wish = undefined;
  }

  /** Value of Set-Cookie for an answer of this session; undefined when the client has the right one. */
  cookie(session: GatewaySession): string | undefined {
    const { stickyId } = session;
    return stickyId === undefined ? undefined : routeCookie(this.config, stickyId, this.tls, this.#wish);
  }
}
