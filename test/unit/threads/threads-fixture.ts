/**
 * A pool with its desk in one place and the sessions of gateway threads around it; messages are copied as a port
 * copies them and delivered when the test says so, so that every order of events can be played.
 */
import type { PassengerError } from '../../../core/base/errors.js';
import type { AppConfig } from '../../../core/config/app-config.js';
import type { CheckoutOptions, GatewaySession, Ticket } from '../../../core/gateway/session-source.js';
import type { DeskMessage, SessionMessage } from '../../../core/threads/messages.js';
import { SessionDesk, type DeskSeat } from '../../../core/threads/session-desk.js';
import { ThreadSessions } from '../../../core/threads/thread-sessions.js';
import { appConfig, Bench } from '../pool/pool-fixture.js';

/** One request of a thread. */
export class ThreadRequest {
  session: GatewaySession | undefined;
  failure: PassengerError | undefined;
  ticket: Ticket | undefined;

  onSession(session: GatewaySession): void {
    this.session = session;
  }
  onFailure(error: PassengerError): void {
    this.failure = error;
  }
  close(): void {
    this.session?.close('ok');
    this.session = undefined;
  }
}

/** A gateway thread without a thread. */
export class FakeThread {
  readonly sessions: ThreadSessions;
  readonly #seat: DeskSeat;
  /** Messages on the way, oldest first. */
  readonly toDesk: SessionMessage[] = [];
  readonly toThread: DeskMessage[] = [];

  constructor(house: ThreadedHouse) {
    this.sessions = new ThreadSessions(
      (message) => void this.toDesk.push(structuredClone(message)),
      house.bench.clock,
    );
    this.#seat = house.desk.join((message) => void this.toThread.push(structuredClone(message)));
  }

  ask(config: AppConfig, options: CheckoutOptions = { generation: 1 }): ThreadRequest {
    const request = new ThreadRequest();
    const result = this.sessions.checkout(config, request, options);
    if ('target' in result) request.session = result;
    else request.ticket = result;
    return request;
  }

  /** Delivers what is on the way to the pool. @returns whether there was anything */
  deliverToDesk(): boolean {
    const messages = this.toDesk.splice(0);
    for (const message of messages) this.#seat.handle(message);
    return messages.length > 0;
  }

  deliverToThread(): boolean {
    const messages = this.toThread.splice(0);
    for (const message of messages) this.sessions.handle(message);
    return messages.length > 0;
  }
}

export class ThreadedHouse {
  readonly bench: Bench;
  readonly desk: SessionDesk;
  readonly threads: readonly FakeThread[];
  readonly config: AppConfig;

  constructor(
    app: Parameters<typeof appConfig>[1] = {},
    server: ConstructorParameters<typeof Bench>[0] = {},
    count = 2,
  ) {
    this.bench = new Bench(server);
    this.config = appConfig('shop', app);
    this.desk = new SessionDesk(this.bench.pool);
    this.bench.pool.audience = this.desk;
    this.threads = Array.from({ length: count }, () => new FakeThread(this));
  }

  thread(index: number): FakeThread {
    const thread = this.threads[index];
    if (thread === undefined) throw new Error(`no thread ${index}`);
    return thread;
  }

  /** Until nothing is on the way and nothing is left to do at this time. */
  async settle(): Promise<void> {
    for (let calm = 0; calm < 3;) {
      await new Promise((turn) => setImmediate(turn));
      const moved = this.threads.map((thread) => [thread.deliverToDesk(), thread.deliverToThread()]);
      calm = moved.flat().includes(true) ? 0 : calm + 1;
    }
  }

  /** A group with a ready process that all threads know. */
  async warm(): Promise<void> {
    const request = this.thread(0).ask(this.config);
    await this.settle();
    request.close();
    await this.settle();
  }
}
