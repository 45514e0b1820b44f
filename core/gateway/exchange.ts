/**
 * One request and its response, from REQUEST to END or ABORT. It owns the session, the upstream connection and the
 * buffered body of the request, and gives each back exactly once, whatever happens. The shim connection calls it
 * with frames, the pool with a session, the upstream connection with bytes, and the listener's sweep with the time.
 * No timer, promise or closure is made here for a request without a large body.
 */
import assert from 'node:assert';
import type { ErrorCode } from '../base/error-codes.js';
import { errorRow, type Fields, type PassengerError } from '../base/errors.js';
import type { RequestConfig } from '../config/app-config.js';
import { ACCEPTED_FRAME, encodeRefusal } from '../wire/encoder.js';
import { FRAME, REQUEST_FLAG } from '../wire/frames.js';
import { exchangeIdText, type RequestFrame } from '../wire/request-frame.js';
import { customPage, errorAnswer, errorFrames, type ErrorAnswer } from './error-page.js';
import { EXCHANGE_MOVES, type ExchangeState } from './exchange-states.js';
import type { Gateway } from './gateway.js';
import { passedLimit } from './limits.js';
import { Tries } from './repeat.js';
import { RequestLeg } from './request-leg.js';
import { ResponseError } from './response-error.js';
import { ResponseLeg } from './response-leg.js';
import {
  checkoutOptions,
  tellOverdue,
  type CheckoutOptions,
  type GatewaySession,
  type SessionOutcome,
  type Ticket,
  type Waiter,
} from './session-source.js';
import type { ShimLink } from './shim-link.js';
import { StickyRoute } from './sticky-route.js';
import { Tunnel } from './tunnel.js';
import type { UpstreamConnection, UpstreamUser } from './upstream.js';

/** With a sweep each 250 ms the frame goes out 500 to 1000 ms after the request. */
const ACCEPTED_AFTER_MS = 750;

export class Exchange implements Waiter, UpstreamUser {
  #state: ExchangeState = 'receiving';
  readonly #startedAt: number;
  #lastActivity: number;
  #accepted = false;
  /** When an app got the request; -1 = not yet. */
  #sentAt = -1;
  readonly #request: RequestLeg;
  readonly #response: ResponseLeg;
  #session: GatewaySession | undefined;
  #ticket: Ticket | undefined;
  #upstream: UpstreamConnection | undefined;
  #tunnel: Tunnel | undefined;
  readonly #tries = new Tries();
  /** The sweep at which the next attempt to connect is due; 0 = none. */
  #retryAt = 0;
  #route: StickyRoute | undefined;

  constructor(
    private readonly link: ShimLink,
    private readonly gateway: Gateway,
    private readonly frame: RequestFrame,
    private readonly config: RequestConfig,
    /** Shared by all exchanges of a connection. */
    private readonly options: CheckoutOptions,
  ) {
    this.#startedAt = gateway.now;
    this.#lastActivity = gateway.now;
    this.#request = new RequestLeg(this, link, frame, config.request.bufferUpload, gateway);
    this.#response = new ResponseLeg(link, this);
  }

  get state(): ExchangeState {
    return this.#state;
  }

  get over(): boolean {
    return this.#state === 'done' || this.#state === 'aborted';
  }

  /** What the client gets cannot change any more. */
  get #decided(): boolean {
    return this.over || this.#state === 'flushing' || this.#state === 'answering';
  }

  /** A tunnel whose app has ended its direction. */
  get appEnded(): boolean {
    return this.#tunnel?.endWritten === true;
  }

  get requestId(): string {
    return exchangeIdText(this.frame.idHigh, this.frame.idLow);
  }

  start(): void {
    this.gateway.counters.started += 1;
    if (this.config.request.stickySessions) {
      const tls = (this.frame.flags & REQUEST_FLAG.TLS) !== 0;
      this.#route = new StickyRoute(this.config, this.#request.headerBlock, tls);
    }
    if (this.#request.ready) this.#checkout();
  }

  // ---- from the shim

  body(bytes: Buffer): void {
    if (this.#decided) return;
    this.#lastActivity = this.gateway.now;
    if (this.#tunnel !== undefined) this.#tunnel.fromClient(bytes);
    else this.#request.body(bytes, this.#sendingTo());
  }

  bodyEnd(): void {
    if (this.#decided) return;
    this.#lastActivity = this.gateway.now;
    if (this.#tunnel !== undefined) this.#tunnel.clientEnded();
    else this.#request.bodyEnd(this.#sendingTo());
  }

  /** CANCEL, or the connection to the shim has gone. */
  cancel(reason: number): void {
    // Of a tunnel that is over on both sides, the last bytes may still be on their way to the app.
    if (this.over || this.#tunnel?.over === true) return;
    this.#transition('aborted', 'canceled');
    this.#response.dispose();
    this.#giveBack('canceled');
    if (this.gateway.log.enabled('debug')) {
      this.gateway.log.debug('exchange canceled', { request: this.requestId, reason });
    }
    const code = 'PSG4011';
    this.link.write(encodeRefusal(FRAME.ABORT, errorRow(code).status ?? 502, code));
    this.link.coreEnded();
  }

  /** What was written to the shim has reached the socket. */
  shimDrained(): void {
    this.#lastActivity = this.gateway.now;
    if (this.#tunnel === undefined) this.#response.drained();
    else this.#upstream?.resume();
  }

  // ---- from the body buffer

  /** The request's body is complete and stored. */
  requestReady(): void {
    if (this.#state === 'receiving') this.#checkout();
  }

  bodyFailed(error: NodeJS.ErrnoException): void {
    if (this.#decided) return;
    const fields = { error: error.code ?? error.message, directory: this.gateway.dataBufferDir };
    if (error.code === 'ENOSPC' || error.code === 'EDQUOT') this.#fail('PSG4008', fields);
    else this.#fail('PSG4009', fields);
  }

  // ---- from the pool

  onSession(session: GatewaySession): void {
    this.#ticket = undefined;
    if (this.#state !== 'waiting') {
      session.close('canceled');
      return;
    }
    this.#session = session;
    this.#send(false);
  }

  /** The pool has said it in the log; the client gets the answer. */
  onFailure(error: PassengerError): void {
    this.#ticket = undefined;
    if (this.#state === 'waiting') this.#answer(error.code, error.details);
  }

  // ---- from the app

  upstreamData(room: Buffer, start: number, end: number): void {
    this.#lastActivity = this.gateway.now;
    if (this.#tunnel !== undefined) {
      this.#tunnel.fromApp(room, start, end);
      return;
    }
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    try {
      this.#response.data(upstream, room, start, end);
    } catch (error) {
      if (!(error instanceof ResponseError)) throw error;
      if (this.#response.headSent) this.#fail('PSG4004', { reason: error.message });
      else this.#fail('PSG4002', { reason: error.message });
    }
  }

  upstreamConnected(): void {
    if (this.#upstream !== undefined) this.#request.connected(this.#upstream);
  }

  upstreamEnd(): void {
    if (this.#tunnel === undefined) this.#upstreamOver(true);
    else this.#tunnel.appEnded();
  }

  upstreamClosed(): void {
    if (this.#tunnel === undefined) this.#upstreamOver(false);
    else this.#endTunnel(this.#upstream?.error === '' ? undefined : 'PSG4022');
  }

  upstreamDrained(): void {
    this.#lastActivity = this.gateway.now;
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    if (this.#tunnel !== undefined) this.link.resume();
    else this.#request.drained(upstream);
  }

  // ---- from the response leg

  get gatewayPoweredBy(): string {
    return this.gateway.poweredBy;
  }

  get headMethod(): boolean {
    return (this.frame.flags & REQUEST_FLAG.HEAD_METHOD) !== 0;
  }

  get upgradeAsked(): boolean {
    return (this.frame.flags & REQUEST_FLAG.UPGRADE) !== 0;
  }

  get stickyCookie(): string | undefined {
    return this.#session === undefined ? undefined : this.#route?.cookie(this.#session);
  }

  /** The final head is about to be written. */
  responseBegins(): void {
    this.#transition('responding', 'head');
  }

  get bufferDirectory(): string {
    return this.gateway.dataBufferDir;
  }

  get bufferLimit(): number {
    return this.gateway.responseBufferLimit;
  }

  /** Called before the last bytes are written, so that the app's slot is free at the earliest moment. */
  responseComplete(inStep: boolean, keepAliveSeconds: number, kept: boolean): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    if (upstream !== undefined) {
      upstream.keepAliveSeconds = keepAliveSeconds;
      const mayStay = this.#session?.keepConnection !== false && !upstream.refused;
      if (inStep && mayStay && this.#request.sent) upstream.release(this.gateway.now);
      else upstream.destroy();
    }
    if (kept) this.#transition('flushing', 'received');
    else this.#complete();
    this.#giveBack('ok');
  }

  responseDelivered(): void {
    this.#complete();
  }

  responseRoom(): void {
    this.#upstream?.resume();
  }

  responseUnkept(error: NodeJS.ErrnoException): void {
    this.#report('PSG4014', { error: error.code ?? error.message, directory: this.gateway.dataBufferDir });
  }

  responseLost(error: NodeJS.ErrnoException): void {
    this.#fail('PSG4015', { error: error.code ?? error.message });
  }

  /** The app has switched protocols; the bytes from `start` on are the tunnel's. */
  tunnelBegins(room: Buffer, start: number, end: number): void {
    const upstream = this.#upstream;
    assert(upstream !== undefined, 'a tunnel has an app');
    this.#transition('tunneling', 'status 101');
    this.gateway.counters.tunnels += 1;
    this.#tunnel = new Tunnel(this.link, upstream);
    if (this.config.app.settings.abortWebsocketsOnProcessShutdown) {
      this.#session?.onDrain(() => this.#endTunnel('PSG4021'));
    }
    if (end > start) this.#tunnel.fromApp(room, start, end);
    if (this.link.shimEnded) this.#tunnel.clientEnded();
  }

  // ---- from the sweep

  tick(now: number): void {
    // Who waits for the client alone is Apache's business.
    if (this.#decided || this.#state === 'tunneling') return;
    if (!this.#accepted && !this.#response.headSent && now - this.#startedAt >= ACCEPTED_AFTER_MS) {
      this.#accepted = true;
      this.link.write(ACCEPTED_FRAME);
    }
    if (this.#retryAt > 0 && now >= this.#retryAt) {
      this.#retryAt = 0;
      this.#askPool();
    }
    // Waiting for the pool has limits of its own there.
    if (this.#state === 'waiting') return;
    const upstream = this.#upstream;
    if (upstream !== undefined) this.#response.lookAtReader(upstream);
    // Who reads nothing keeps the app waiting, not the other way round.
    if (upstream?.paused === true) this.#lastActivity = now;
    const sinceSent = this.#sentAt < 0 ? 0 : now - this.#sentAt;
    const { headSent } = this.#response;
    const facts = { sinceSent, silentMs: now - this.#lastActivity, headSent, appIsDue: this.#appIsDue() };
    const passed = passedLimit(facts, this.config.request.maxRequestTime, this.frame.silenceMs);
    if (passed === undefined) return;
    tellOverdue(this.gateway.source, this.#session, passed.overdue);
    this.#fail(passed.code, passed.fields);
  }

  /** Whether it is the app that we wait for, and not the client's upload. */
  #appIsDue(): boolean {
    if (this.#state === 'receiving') return false;
    return this.#request.sent || this.#upstream?.backlogged === true || this.#response.headSent;
  }

  // ---- steps

  #checkout(): void {
    this.#transition('waiting', 'request is there');
    this.#askPool();
  }

  #askPool(): void {
    const queueSeconds = this.config.request.maxRequestQueueTime;
    const options = checkoutOptions(this.options, this.#route?.wish, queueSeconds);
    const result = this.gateway.source.checkout(this.config.app, this, options);
    if ('target' in result) this.onSession(result);
    // The pool may have called back before it returned.
    else if (this.#state === 'waiting' && this.#session === undefined) this.#ticket = result;
  }

  /** Writes the request to a connection of the session's process. */
  #send(fresh: boolean): void {
    const session = this.#session;
    assert(session !== undefined, 'sending needs a session');
    const replayable = (this.frame.flags & REQUEST_FLAG.REPLAYABLE) !== 0;
    const upstream = this.gateway.upstreams.take(session.target, this.gateway.now, replayable, fresh);
    this.#upstream = upstream;
    upstream.user = this;
    this.#lastActivity = this.gateway.now;
    if (this.#sentAt < 0) this.#sentAt = this.gateway.now;
    if (this.#state === 'waiting') this.#transition('sending', 'session');
    this.#request.send(upstream);
  }

  /** Where body bytes may go on to at once. */
  #sendingTo(): UpstreamConnection | undefined {
    return this.#state === 'sending' || this.#state === 'responding' ? this.#upstream : undefined;
  }

  /** The app's connection has ended, by FIN (`clean`) or otherwise. */
  #upstreamOver(clean: boolean): void {
    const upstream = this.#upstream;
    if (upstream === undefined || this.over) return;
    if (this.#state === 'responding') {
      if (clean && this.#response.untilClose) this.#response.endOfInput();
      else this.#fail('PSG4003', { error: upstream.error });
      return;
    }
    if (clean) upstream.lookForReset();
    upstream.destroy();
    this.#upstream = undefined;
    if (upstream.connected) this.#afterEnd(upstream);
    else this.#connectFailed(upstream.error);
  }

  #afterEnd(upstream: UpstreamConnection): void {
    const next = this.#tries.afterEnd(upstream, {
      flags: this.frame.flags,
      repeatable: this.#request.repeatable,
      anythingSeen: this.#response.anythingSeen,
    });
    if (next === 'again') {
      this.gateway.counters.retries += 1;
      this.#send(true);
    } else if (next === 'elsewhere') {
      this.#route?.leave();
      this.#tryElsewhere('app did not read the request');
    } else this.#noAnswer(upstream.error, upstream.served > 0);
  }

  #connectFailed(error: string): void {
    const session = this.#session;
    if (session === undefined) return;
    const { again, blame } = this.#tries.afterConnect(error, this.#request.repeatable);
    if (blame) this.gateway.source.reportConnectFailure(session);
    if (again) this.#tryElsewhere('app took no connection');
    else if (this.#tries.deadly) this.#noAnswer('', true);
    else this.#fail('PSG4007', { error });
  }

  #noAnswer(error: string, reusedConnection: boolean): void {
    this.#fail('PSG4001', { error, reusedConnection });
  }

  /** Another session, of the same process or of another one. */
  #tryElsewhere(reason: string): void {
    const session = this.#session;
    this.#session = undefined;
    session?.close('app-failed');
    this.gateway.counters.retries += 1;
    this.#transition('waiting', reason);
    // The first time at once (another process may be there), then with the sweep (a full backlog needs a moment).
    if (this.#tries.moveOn()) this.#askPool();
    else this.#retryAt = this.gateway.now + 1;
  }

  /** The app's connection has gone in good order or, with `code`, the tunnel is cut: the client's ends, too. */
  #endTunnel(code?: ErrorCode): void {
    const tunnel = this.#tunnel;
    if (this.#state !== 'tunneling' || tunnel === undefined) return;
    this.#transition(code === undefined ? 'done' : 'aborted', code ?? 'tunnel ended');
    this.gateway.counters[code === undefined ? 'completed' : 'aborted'] += 1;
    this.#giveBack(code === undefined ? 'ok' : 'canceled');
    if (code === undefined) tunnel.appEnded();
    else if (!tunnel.endWritten)
      this.link.write(encodeRefusal(FRAME.ABORT, errorRow(code).status ?? 502, code));
    this.link.finish();
  }

  /** A failure that this exchange has found itself: into the log, and to the client. */
  #fail(code: ErrorCode, fields: Fields): void {
    this.#report(code, fields);
    this.#answer(code, fields);
  }

  /** Many requests of an app may fail alike: each app has its own pace. */
  #report(code: ErrorCode, fields: Fields): void {
    const app = this.config.app.groupName;
    this.gateway.failures.report(code, { ...fields, app, request: this.requestId }, app);
  }

  #complete(): void {
    this.#transition('done', 'complete');
    this.gateway.counters.completed += 1;
  }

  /** Ends the exchange with an error page or, when the head is out, with ABORT. */
  #answer(code: ErrorCode, details: Fields): void {
    if (!this.#response.headSent) return this.#show(code, details);
    this.#transition('aborted', code);
    this.gateway.counters.aborted += 1;
    this.#response.dispose();
    this.#giveBack('app-failed');
    this.link.write(encodeRefusal(FRAME.ABORT, errorRow(code).status ?? 500, code));
    this.link.coreEnded();
  }

  #show(code: ErrorCode, details: Fields): void {
    const { requestId, headMethod } = this;
    const { app } = this.config;
    this.gateway.counters.errors += 1;
    const headerBlock = this.#request.headerBlock.toString('latin1');
    this.#giveBack('app-failed');
    const told = app.settings.friendlyErrorPages ? details : undefined;
    const answer = errorAnswer(code, told, { requestId, headerBlock, headMethod });
    const own = customPage(this.gateway.pages, app, answer);
    if (own === undefined) return this.#showPage(answer);
    this.#transition('answering', code);
    void own.then((page) => this.#showPage(answer, page));
  }

  #showPage(answer: ErrorAnswer, page?: Buffer): void {
    // The client may have left meanwhile.
    if (this.over) return;
    this.#transition('done', answer.code);
    this.link.write(errorFrames(answer, page));
    this.link.coreEnded();
  }

  /** Gives back everything that this exchange holds. */
  #giveBack(outcome: SessionOutcome): void {
    const { link } = this;
    this.#ticket?.cancel();
    this.#ticket = undefined;
    this.#upstream?.destroy();
    this.#upstream = undefined;
    const session = this.#session;
    this.#session = undefined;
    session?.close(outcome);
    this.#request.dispose();
    // What the shim still sends is read and dropped.
    link.resume();
  }

  /** The only place that writes the state. */
  #transition(to: ExchangeState, reason: string): void {
    const from = this.#state;
    assert(EXCHANGE_MOVES[from].includes(to), 'illegal move of an exchange');
    this.#state = to;
    if (from === 'tunneling') this.gateway.counters.tunnels -= 1;
    if (this.gateway.log.enabled('trace')) {
      this.gateway.log.trace('exchange moved', { request: this.requestId, from, to, reason });
    }
  }
}
