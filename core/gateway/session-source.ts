/**
 * What the gateway asks of routing and pool, declared here so that gateway and its tests need neither. The Pool has
 * this shape; the composition root puts the two together.
 */
import type { PassengerError } from '../base/errors.js';
import type { AppConfig } from '../config/app-config.js';
import type { StickyWish } from '../pool/session.js';

/** Where an app process takes connections. */
export type AppTarget = { readonly path: string } | { readonly host: '127.0.0.1'; readonly port: number };

export type SessionOutcome = 'ok' | 'app-failed' | 'canceled';

/** Which limit a request has met: `silence` is Apache's Timeout, `time` is PassengerMaxRequestTime. */
export type OverdueLimit = 'silence' | 'time';

/** One slot of a process, ours until it is closed; closed exactly once. */
export interface GatewaySession {
  readonly target: AppTarget;
  /** The name of the process for its clients; absent where no routes are kept. */
  readonly stickyId?: string;
  /** False: the connection to the app ends with the session. Absent: it may be kept. */
  readonly keepConnection?: boolean;
  /** Calls when the process begins to drain, as long as the session is open. */
  onDrain(listener: () => void): void;
  close(outcome: SessionOutcome): void;
}

/** A place in the waiting list. */
export interface Ticket {
  cancel(): void;
}

/** Hears exactly one of the two for each ticket, never after `cancel`. */
export interface Waiter {
  onSession(session: GatewaySession): void;
  onFailure(error: PassengerError): void;
}

export interface CheckoutOptions {
  /** The reload generation of the Apache child, and so of the request's settings. */
  readonly generation: number;
  /** Absent: any process will do. */
  readonly sticky?: StickyWish;
  /** Absent: no limit of its own. */
  readonly maxQueueTimeMs?: number;
}

/** The same object as long as nothing is to be added. @param queueSeconds 0: no limit of its own */
export function checkoutOptions(
  common: CheckoutOptions,
  sticky: CheckoutOptions['sticky'],
  queueSeconds: number,
): CheckoutOptions {
  if (sticky === undefined && queueSeconds === 0) return common;
  return {
    ...common,
    ...(sticky === undefined ? {} : { sticky }),
    ...(queueSeconds === 0 ? {} : { maxQueueTimeMs: queueSeconds * 1000 }),
  };
}

export interface SessionSource {
  /** A session at once when one is free (no promise, no callback), otherwise a place in the waiting list. */
  checkout(app: AppConfig, waiter: Waiter, options: CheckoutOptions): GatewaySession | Ticket;
  /** The process of this session did not take a connection; the session is closed by its owner as ever. */
  reportConnectFailure(session: GatewaySession): void;
  /** The request of this session has run out of time; the session is closed by its owner as ever. */
  reportOverdue(session: GatewaySession, limit: OverdueLimit): void;
}
