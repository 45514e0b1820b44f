/**
 * One request and its response, from REQUEST to END or ABORT: its state, and which of its parts an event is for. The call
 * owns what is an app's (session, connection), the legs own bodies; here all of it is given back, whatever happens. The
 * shim connection calls it with frames, the upstream connection with bytes, and the listener's sweep with the time.
 * No timer, promise or closure is made here for a request without a large body.
 */
import assert from 'node:assert';
import type { ErrorCode } from '../base/error-codes.js';
import type { Fields } from '../base/errors.js';
import type { RequestConfig } from '../config/app-config.js';
import { ACCEPTED_FRAME } from '../wire/encoder.js';
import { exchangeIdText, type RequestFrame } from '../wire/request-frame.js';
import { AppCall, type AppCallOwner } from './app-call.js';
import { abortFrame, errorResponse } from './error-page.js';
import { EXCHANGE_MOVES, type ExchangeState } from './exchange-states.js';
import type { Gateway } from './gateway.js';
import { passedLimit } from './limits.js';
import { RequestLeg, type RequestLegOwner } from './request-leg.js';
import { ResponseError } from './response-error.js';
import { ResponseLeg, type ResponseLegOwner } from './response-leg.js';
import type { CheckoutOptions, SessionOutcome } from './session-source.js';
import type { ShimLink } from './shim-link.js';
import { Tunnel } from './tunnel.js';
import type { UpstreamConnection } from './upstream.js';

/** With a sweep each 250 ms the frame goes out 500 to 1000 ms after the request. */
const ACCEPTED_AFTER_MS = 750;

export class Exchange implements AppCallOwner, RequestLegOwner, ResponseLegOwner {
  #state: ExchangeState = 'receiving';
  readonly #startedAt: number;
  #lastActivity: number;
  #accepted = false;
  readonly #request: RequestLeg;
  readonly #response: ResponseLeg;
  readonly #call: AppCall;
  #tunnel: Tunnel | undefined;

  constructor(
    private readonly link: ShimLink,
    private readonly gateway: Gateway,
    private readonly frame: RequestFrame,
    private readonly config: RequestConfig,
    /** Shared by all exchanges of a connection. */
    options: CheckoutOptions,
  ) {
    this.#startedAt = gateway.now;
    this.#lastActivity = gateway.now;
    this.#request = new RequestLeg(this, link, frame, config.request.bufferUpload, gateway);
    this.#call = new AppCall(this, this.#request, gateway, frame, config, options);
    this.#response = new ResponseLeg(this, link, gateway, frame.flags);
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
    this.link.write(abortFrame(code));
    this.link.coreEnded();
  }

  /** What was written to the shim has reached the socket. */
  shimDrained(): void {
    this.#lastActivity = this.gateway.now;
    if (this.#tunnel === undefined) this.#response.drained();
    else this.#call.upstream?.resume();
  }

  // ---- from the body buffer

  /** The request's body is complete and stored. */
  requestReady(): void {
    if (this.#state === 'receiving') this.#checkout();
  }

  bodyFailed(error: NodeJS.ErrnoException): void {
    if (this.#decided) return;
    const fields = { error: error.code ?? error.message, directory: this.gateway.dataBufferDir };
    if (error.code === 'ENOSPC' || error.code === 'EDQUOT') this.fail('PSG4008', fields);
    else this.fail('PSG4009', fields);
  }

  // ---- from the call

  get answerBegun(): boolean {
    return this.#response.anythingSeen;
  }

  callBegins(): void {
    this.#lastActivity = this.gateway.now;
    if (this.#state === 'waiting') this.#transition('sending', 'session');
  }

  callGoesElsewhere(reason: string): void {
    this.#transition('waiting', reason);
  }

  // ---- from the app

  upstreamData(room: Buffer, start: number, end: number): void {
    this.#lastActivity = this.gateway.now;
    if (this.#tunnel !== undefined) {
      this.#tunnel.fromApp(room, start, end);
      return;
    }
    const { upstream } = this.#call;
    if (upstream === undefined) return;
    try {
      this.#response.data(upstream, room, start, end);
    } catch (error) {
      if (!(error instanceof ResponseError)) throw error;
      if (this.#response.headSent) this.fail('PSG4004', { reason: error.message });
      else this.fail('PSG4002', { reason: error.message });
    }
  }

  upstreamConnected(): void {
    if (this.#call.upstream !== undefined) this.#request.connected(this.#call.upstream);
  }

  upstreamEnd(): void {
    if (this.#tunnel === undefined) this.#upstreamOver(true);
    else this.#tunnel.appEnded();
  }

  upstreamClosed(): void {
    if (this.#tunnel === undefined) this.#upstreamOver(false);
    else this.#endTunnel(this.#call.upstream?.error === '' ? undefined : 'PSG4022');
  }

  upstreamDrained(): void {
    this.#lastActivity = this.gateway.now;
    const { upstream } = this.#call;
    if (upstream === undefined) return;
    if (this.#tunnel !== undefined) this.link.resume();
    else this.#request.drained(upstream);
  }

  // ---- from the response leg

  get stickyCookie(): string | undefined {
    return this.#call.stickyCookie;
  }

  /** The final head is about to be written. */
  responseBegins(): void {
    this.#transition('responding', 'head');
  }

  /** Called before the last bytes are written, so that the app's slot is free at the earliest moment. */
  responseComplete(inStep: boolean, keepAliveSeconds: number, kept: boolean): void {
    this.#call.answered(inStep, keepAliveSeconds);
    if (kept) this.#transition('flushing', 'received');
    else this.#complete();
    this.#giveBack('ok');
  }

  responseDelivered(): void {
    this.#complete();
  }

  responseRoom(): void {
    this.#call.upstream?.resume();
  }

  responseUnkept(error: NodeJS.ErrnoException): void {
    this.#report('PSG4014', { error: error.code ?? error.message, directory: this.gateway.dataBufferDir });
  }

  responseLost(error: NodeJS.ErrnoException): void {
    this.fail('PSG4015', { error: error.code ?? error.message });
  }

  /** The app has switched protocols; the bytes from `start` on are the tunnel's. */
  tunnelBegins(room: Buffer, start: number, end: number): void {
    const { upstream } = this.#call;
    assert(upstream !== undefined, 'a tunnel has an app');
    this.#transition('tunneling', 'status 101');
    this.gateway.counters.tunnels += 1;
    this.#tunnel = new Tunnel(this.link, upstream);
    if (this.config.app.settings.abortWebsocketsOnProcessShutdown) {
      this.#call.onDrain(() => this.#endTunnel('PSG4021'));
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
    this.#call.tick(now);
    // Waiting for the pool has limits of its own there.
    if (this.#state === 'waiting') return;
    const { upstream, sentAt } = this.#call;
    if (upstream !== undefined) this.#response.lookAtReader(upstream);
    // Who reads nothing keeps the app waiting, not the other way round.
    if (upstream?.paused === true) this.#lastActivity = now;
    const sinceSent = sentAt < 0 ? 0 : now - sentAt;
    const { headSent } = this.#response;
    const facts = { sinceSent, silentMs: now - this.#lastActivity, headSent, appIsDue: this.#appIsDue() };
    const passed = passedLimit(facts, this.config.request.maxRequestTime, this.frame.silenceMs);
    if (passed === undefined) return;
    if (passed.overdue !== undefined) this.#call.reportOverdue(passed.overdue);
    this.fail(passed.code, passed.fields);
  }

  /** Whether it is the app that we wait for, and not the client's upload. */
  #appIsDue(): boolean {
    if (this.#state === 'receiving') return false;
    return this.#request.sent || this.#call.upstream?.backlogged === true || this.#response.headSent;
  }

  // ---- steps

  #checkout(): void {
    this.#transition('waiting', 'request is there');
    this.#call.start();
  }

  /** Where body bytes may go on to at once. */
  #sendingTo(): UpstreamConnection | undefined {
    return this.#state === 'sending' || this.#state === 'responding' ? this.#call.upstream : undefined;
  }

  /** The app's connection has ended, by FIN (`clean`) or otherwise. */
  #upstreamOver(clean: boolean): void {
    const { upstream } = this.#call;
    if (upstream === undefined || this.over) return;
    if (this.#state !== 'responding') this.#call.ended(upstream, clean);
    else if (clean && this.#response.untilClose) this.#response.endOfInput();
    else this.fail('PSG4003', { error: upstream.error });
  }

  /** The app's connection has gone in good order or, with `code`, the tunnel is cut: the client's ends, too. */
  #endTunnel(code?: ErrorCode): void {
    const tunnel = this.#tunnel;
    if (this.#state !== 'tunneling' || tunnel === undefined) return;
    this.#transition(code === undefined ? 'done' : 'aborted', code ?? 'tunnel ended');
    this.gateway.counters[code === undefined ? 'completed' : 'aborted'] += 1;
    this.#giveBack(code === undefined ? 'ok' : 'canceled');
    if (code === undefined) tunnel.appEnded();
    else if (!tunnel.endWritten) this.link.write(abortFrame(code));
    this.link.finish();
  }

  /** A failure that the exchange or one of its parts has found: into the log, and to the client. */
  fail(code: ErrorCode, fields: Fields): void {
    this.#report(code, fields);
    this.answer(code, fields);
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

  /** A failure that the log has already: ends the exchange with an error page or, when the head is out, with ABORT. */
  answer(code: ErrorCode, details: Fields): void {
    if (!this.#response.headSent) return this.#show(code, details);
    this.#transition('aborted', code);
    this.gateway.counters.aborted += 1;
    this.#response.dispose();
    this.#giveBack('app-failed');
    this.link.write(abortFrame(code));
    this.link.coreEnded();
  }

  #show(code: ErrorCode, details: Fields): void {
    this.gateway.counters.errors += 1;
    const headerBlock = this.#request.headerBlock.toString('latin1');
    this.#giveBack('app-failed');
    const { requestId } = this;
    const { headMethod } = this.#response;
    const request = { requestId, headerBlock, headMethod };
    const page = errorResponse(this.gateway.pages, this.config.app, code, details, request);
    if (Buffer.isBuffer(page)) return this.#showPage(code, page);
    this.#transition('answering', code);
    void page.then((frames) => this.#showPage(code, frames));
  }

  #showPage(code: ErrorCode, frames: Buffer): void {
    // The client may have left meanwhile.
    if (this.over) return;
    this.#transition('done', code);
    this.link.write(frames);
    this.link.coreEnded();
  }

  /** Gives back everything that this exchange holds. */
  #giveBack(outcome: SessionOutcome): void {
    this.#call.close(outcome);
    this.#request.dispose();
    // What the shim still sends is read and dropped.
    this.link.resume();
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
