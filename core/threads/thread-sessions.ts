/**
 * Where a gateway thread gets its sessions from: out of the shared books when a process of the group is free, which
 * costs no message, else from the pool in the main thread. The only part of the pool's work that happens in a gateway
 * thread; it decides nothing but which free process is best, by the same rule as the pool.
 */
import assert from 'node:assert';
import type { Clock } from '../base/clock.js';
import { PassengerError } from '../base/errors.js';
import type { AppConfig } from '../config/app-config.js';
import type {
  CheckoutOptions,
  GatewaySession,
  OverdueLimit,
  SessionSource,
  Ticket,
  Waiter,
} from '../gateway/session-source.js';
import { GroupBook, ProcessBook } from '../pool/books.js';
import type { AppTarget, ProcessView, Session, StickyWish } from '../pool/session.js';
import { choose } from '../routing/choose.js';
import type { DeskMessage, ProcessNote, SessionMessage } from './messages.js';

type Post = (message: SessionMessage) => void;

/** A process as a thread sees it. */
class ThreadProcess implements ProcessView {
  readonly key: string;
  readonly pid: number;
  readonly stickyId: string;
  readonly target: AppTarget;
  readonly book: ProcessBook;
  readonly #drainListeners = new Set<() => void>();

  constructor(note: ProcessNote, group: GroupBook) {
    this.key = note.key;
    this.pid = note.pid;
    this.stickyId = note.stickyId;
    this.target = note.target;
    this.book = new ProcessBook(group, note.memory);
  }

  get sessions(): number {
    return this.book.sessions;
  }
  get concurrency(): number {
    return this.book.concurrency;
  }
  get turn(): number {
    return this.book.turn;
  }
  get closed(): boolean {
    return this.book.closed;
  }
  get suspect(): boolean {
    return this.book.suspect;
  }

  /** At once, after the caller has returned, when it is closed already. */
  onDrain(listener: () => void): () => void {
    if (this.closed) queueMicrotask(listener);
    else this.#drainListeners.add(listener);
    return () => this.#drainListeners.delete(listener);
  }

  drains(): void {
    for (const listener of [...this.#drainListeners]) listener();
    this.#drainListeners.clear();
  }
}

interface ThreadGroup {
  readonly book: GroupBook;
  readonly processes: readonly ThreadProcess[];
}

class ThreadSession implements Session {
  #open = true;
  #stopListening: (() => void) | undefined;

  constructor(
    readonly process: ThreadProcess,
    private readonly clock: Clock,
    private readonly post: Post,
  ) {}

  get target(): AppTarget {
    return this.process.target;
  }

  get stickyId(): string {
    return this.process.stickyId;
  }

  get socketPath(): string {
    const { target } = this.process;
    return 'path' in target ? target.path : '';
  }

  /**
   * A process that takes one request at a time may well take one connection at a time: one that this thread kept would
   * make the requests of the others wait.
   */
  get keepConnection(): boolean {
    return this.process.concurrency !== 1;
  }

  onDrain(listener: () => void): void {
    if (!this.#open) return;
    this.#stopListening = this.process.onDrain(() => {
      if (this.#open) listener();
    });
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#stopListening?.();
    if (this.process.book.giveBack(this.clock.now())) {
      this.post({ kind: 'fell', process: this.process.key });
    }
  }
}

/** A request that the pool has been asked for. */
interface Asking {
  readonly app: AppConfig;
  readonly waiter: Waiter;
  readonly options: CheckoutOptions;
}

export class ThreadSessions implements SessionSource {
  readonly #groups = new Map<string, ThreadGroup>();
  /** Of all groups, by key. */
  readonly #processes = new Map<string, ThreadProcess>();
  readonly #asking = new Map<number, Asking>();
  #lastTicket = 0;

  constructor(
    private readonly post: Post,
    /** In step with the pool's clock. */
    private readonly clock: Clock,
  ) {}

  /** Requests that wait for the pool's answer. */
  get asking(): number {
    return this.#asking.size;
  }

  checkout(app: AppConfig, waiter: Waiter, options: CheckoutOptions): GatewaySession | Ticket {
    const group = this.#groups.get(app.groupKey);
    const known = group !== undefined && options.generation <= group.book.confirmed;
    const session = known ? this.#take(group, options.sticky) : undefined;
    if (session !== undefined) return session;
    this.#lastTicket += 1;
    const ticket = this.#lastTicket;
    this.#asking.set(ticket, { app, waiter, options });
    this.#ask(ticket, app, options, known);
    return { cancel: () => this.#cancel(ticket) };
  }

  /** Nobody takes this process any more, from this moment on; what becomes of it is the pool's decision. */
  reportConnectFailure(session: GatewaySession): void {
    assert(session instanceof ThreadSession, 'sessions come from here');
    session.process.book.close();
    this.post({ kind: 'unreachable', process: session.process.key });
  }

  reportOverdue(session: GatewaySession, limit: OverdueLimit): void {
    assert(session instanceof ThreadSession, 'sessions come from here');
    this.post({ kind: 'overdue', process: session.process.key, limit });
  }

  handle(message: DeskMessage): void {
    switch (message.kind) {
      case 'group':
        return this.#learn(message);
      case 'group-gone':
        return this.#forget(message.key);
      case 'drains':
        return this.#processes.get(message.process)?.drains();
      case 'session':
        return this.#granted(message.ticket, message.process);
      case 'failure': {
        const asking = this.#settle(message.ticket);
        return asking?.waiter.onFailure(new PassengerError(message.code, message.details));
      }
      case 'ask-again': {
        const asking = this.#asking.get(message.ticket);
        if (asking !== undefined) this.#ask(message.ticket, asking.app, asking.options, false);
      }
    }
  }

  /** The fast way; the same conditions as the pool's own (GroupRequests.take). */
  #take({ book, processes }: ThreadGroup, sticky: StickyWish | undefined): ThreadSession | undefined {
    const now = this.clock.now();
    book.lastRequest = now;
    if (now >= book.clearUntil || book.waiting > 0) return undefined;
    if (sticky !== undefined) return this.#takeOwn(processes, sticky, now);
    for (;;) {
      const process = choose(processes);
      if (process === undefined) return undefined;
      // Somebody else may have taken the last slot: then this process is not chosen again.
      if (process.book.take(now)) return this.#session(process);
    }
  }

  /**
   * With the process that the client names. Full, or unknown: the pool knows who waits, which session of SockJS is
   * where, and processes that this thread has not heard of yet.
   */
  #takeOwn(processes: readonly ThreadProcess[], { ids }: StickyWish, now: number): ThreadSession | undefined {
    for (const id of ids) {
      const own = processes.find(({ stickyId, closed }) => stickyId === id && !closed);
      if (own !== undefined) return own.book.take(now) ? this.#session(own) : undefined;
    }
    return undefined;
  }

  #session(process: ThreadProcess): ThreadSession {
    return new ThreadSession(process, this.clock, this.post);
  }

  #ask(ticket: number, app: AppConfig, options: CheckoutOptions, known: boolean): void {
    const config = known ? undefined : app;
    this.post({ kind: 'checkout', ticket, groupKey: app.groupKey, config, options });
  }

  #cancel(ticket: number): void {
    if (this.#settle(ticket) !== undefined) this.post({ kind: 'cancel', ticket });
  }

  #settle(ticket: number): Asking | undefined {
    const asking = this.#asking.get(ticket);
    this.#asking.delete(ticket);
    return asking;
  }

  #granted(ticket: number, key: string): void {
    const process = this.#processes.get(key);
    assert(process !== undefined, 'processes are announced before their sessions');
    const session = this.#session(process);
    const asking = this.#settle(ticket);
    // The cancellation and the session have met on the way.
    if (asking === undefined) session.close();
    else asking.waiter.onSession(session);
  }

  #learn({ key, memory, processes }: DeskMessage & { kind: 'group' }): void {
    const before = this.#groups.get(key);
    const book = new GroupBook(memory);
    const group = {
      book,
      processes: processes.map((note) => this.#processes.get(note.key) ?? new ThreadProcess(note, book)),
    };
    for (const process of before?.processes ?? []) this.#processes.delete(process.key);
    for (const process of group.processes) this.#processes.set(process.key, process);
    this.#groups.set(key, group);
  }

  #forget(key: string): void {
    for (const process of this.#groups.get(key)?.processes ?? []) this.#processes.delete(process.key);
    this.#groups.delete(key);
  }
}
