/**
 * How a request comes to an app: a session from the pool or a place in its waiting list, a connection of the session's
 * process, and both once more where they failed and the rules allow it. Owns ticket, session and connection, and gives
 * each back exactly once. What travels on the connection is not its business. Called by exchange.ts, and by the pool.
 */
import type { ErrorCode } from '../base/error-codes.js';
import type { Fields, PassengerError } from '../base/errors.js';
import type { RequestConfig } from '../config/app-config.js';
import { REQUEST_FLAG } from '../wire/frames.js';
import type { RequestFrame } from '../wire/request-frame.js';
import type { ExchangeState } from './exchange-states.js';
import type { Gateway } from './gateway.js';
import { Tries } from './repeat.js';
import type { RequestLeg } from './request-leg.js';
import {
  checkoutOptions,
  type CheckoutOptions,
  type GatewaySession,
  type OverdueLimit,
  type SessionOutcome,
  type Ticket,
  type Waiter,
} from './session-source.js';
import { StickyRoute } from './sticky-route.js';
import type { UpstreamConnection, UpstreamUser } from './upstream.js';

/** The exchange; it is the user of the connection, too. */
export interface AppCallOwner extends UpstreamUser {
  readonly state: ExchangeState;
  /** Whether any head of an answer was seen, also an interim one. */
  readonly answerBegun: boolean;
  /** A session is there and the request about to be written to its process. */
  callBegins(): void;
  /** The process did not serve the request; another session is asked for. */
  callGoesElsewhere(reason: string): void;
  /** Ends the exchange with a failure that goes into the log. */
  fail(code: ErrorCode, fields: Fields): void;
  /** The same for one that the pool has put there. */
  answer(code: ErrorCode, details: Fields): void;
}

export class AppCall implements Waiter {
  /** The connection that carries the request, from the moment on that it is written. */
  upstream: UpstreamConnection | undefined;
  /** When an app got the request first; -1 = not yet. */
  sentAt = -1;
  #session: GatewaySession | undefined;
  #ticket: Ticket | undefined;
  #route: StickyRoute | undefined;
  /** Made when the first one has failed. */
  #tries: Tries | undefined;
  /** The time from which on the next session may be asked for; 0 = none is to be. */
  #retryAt = 0;

  constructor(
    private readonly owner: AppCallOwner,
    private readonly request: RequestLeg,
    private readonly gateway: Gateway,
    private readonly frame: RequestFrame,
    private readonly config: RequestConfig,
    private readonly options: CheckoutOptions,
  ) {}

  // ---- to a session

  /** Called once, when the exchange has begun to wait. */
  start(): void {
    if (this.config.request.stickySessions) {
      const tls = (this.frame.flags & REQUEST_FLAG.TLS) !== 0;
      this.#route = new StickyRoute(this.config, this.request.headerBlock, tls);
    }
    this.#askPool();
  }

  /** From the sweep. */
  tick(now: number): void {
    if (this.#retryAt === 0 || now < this.#retryAt) return;
    this.#retryAt = 0;
    this.#askPool();
  }

  onSession(session: GatewaySession): void {
    this.#ticket = undefined;
    if (this.owner.state !== 'waiting') {
      session.close('canceled');
      return;
    }
    this.#session = session;
    this.#send(session, false);
  }

  onFailure(error: PassengerError): void {
    this.#ticket = undefined;
    if (this.owner.state === 'waiting') this.owner.answer(error.code, error.details);
  }

  #askPool(): void {
    const queueSeconds = this.config.request.maxRequestQueueTime;
    const options = checkoutOptions(this.options, this.#route?.wish, queueSeconds);
    const result = this.gateway.source.checkout(this.config.app, this, options);
    if ('target' in result) this.onSession(result);
    // The pool may have called back before it returned.
    else if (this.owner.state === 'waiting' && this.#session === undefined) this.#ticket = result;
  }

  /** Writes the request to a connection of the session's process. */
  #send(session: GatewaySession, fresh: boolean): void {
    const { gateway } = this;
    const replayable = (this.frame.flags & REQUEST_FLAG.REPLAYABLE) !== 0;
    const upstream = gateway.upstreams.take(session.target, gateway.now, replayable, fresh);
    this.upstream = upstream;
    upstream.user = this.owner;
    if (this.sentAt < 0) this.sentAt = gateway.now;
    this.owner.callBegins();
    this.request.send(upstream);
  }

  // ---- once more

  /** The connection has ended before the head of an answer, by FIN (`clean`) or otherwise. */
  ended(upstream: UpstreamConnection, clean: boolean): void {
    if (clean) upstream.lookForReset();
    upstream.destroy();
    this.upstream = undefined;
    const session = this.#session;
    if (session === undefined) return;
    this.#tries ??= new Tries();
    if (upstream.connected) this.#unanswered(upstream, session, this.#tries);
    else this.#notConnected(upstream.error, session, this.#tries);
  }

  #unanswered(upstream: UpstreamConnection, session: GatewaySession, tries: Tries): void {
    const next = tries.afterEnd(upstream, {
      flags: this.frame.flags,
      repeatable: this.request.repeatable,
      anythingSeen: this.owner.answerBegun,
    });
    if (next === 'again') {
      this.gateway.counters.retries += 1;
      this.#send(session, true);
    } else if (next === 'elsewhere') {
      this.#route?.leave();
      this.#tryElsewhere(session, tries, 'app did not read the request');
    } else this.#noAnswer(upstream.error, upstream.served > 0);
  }

  #notConnected(error: string, session: GatewaySession, tries: Tries): void {
    const { again, blame } = tries.afterConnect(error, this.request.repeatable);
    if (blame) this.gateway.source.reportConnectFailure(session);
    if (again) this.#tryElsewhere(session, tries, 'app took no connection');
    else if (tries.deadly) this.#noAnswer('', true);
    else this.owner.fail('PSG4007', { error });
  }

  #noAnswer(error: string, reusedConnection: boolean): void {
    this.owner.fail('PSG4001', { error, reusedConnection });
  }

  /** Another session, of the same process or of another one. */
  #tryElsewhere(session: GatewaySession, tries: Tries, reason: string): void {
    this.#session = undefined;
    session.close('app-failed');
    this.gateway.counters.retries += 1;
    this.owner.callGoesElsewhere(reason);
    // The first time at once (another process may be there), then with the sweep (a full backlog needs a moment).
    if (tries.moveOn()) this.#askPool();
    else this.#retryAt = this.gateway.now + 1;
  }

  // ---- while a process has the request

  /** The cookie that keeps this visitor with the session's process; undefined where none is due. */
  get stickyCookie(): string | undefined {
    return this.#session === undefined ? undefined : this.#route?.cookie(this.#session);
  }

  onDrain(listener: () => void): void {
    this.#session?.onDrain(listener);
  }

  /** The request has run out of time while an app had it: the pool looks whether the process is alive. */
  reportOverdue(limit: OverdueLimit): void {
    if (this.#session !== undefined) this.gateway.source.reportOverdue(this.#session, limit);
  }

  // ---- the end

  /**
   * The answer is complete: the connection is for others, where it is in step and all of the request was sent.
   * @param keepAliveSeconds what the app said it keeps idle connections; 0 = nothing
   */
  answered(inStep: boolean, keepAliveSeconds: number): void {
    const { upstream } = this;
    this.upstream = undefined;
    if (upstream === undefined) return;
    upstream.keepAliveSeconds = keepAliveSeconds;
    const mayStay = this.#session?.keepConnection !== false && !upstream.refused;
    if (inStep && mayStay && this.request.sent) upstream.release(this.gateway.now);
    else upstream.destroy();
  }

  /** Gives back all that is still held. */
  close(outcome: SessionOutcome): void {
    this.#ticket?.cancel();
    this.#ticket = undefined;
    this.upstream?.destroy();
    this.upstream = undefined;
    const session = this.#session;
    this.#session = undefined;
    session?.close(outcome);
  }
}
