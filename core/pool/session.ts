/**
 * One checked-out slot of an app process: the right to have one exchange with it. The gateway closes it exactly when
 * the exchange is over, also when the process has died meanwhile. A process outlives its sessions in the pool's
 * books, never the other way round.
 */
import type { AppTarget } from '../spawn/spawner.js';

export type { AppTarget } from '../spawn/spawner.js';

/** How an exchange went, as far as the process is concerned. */
export type SessionOutcome = 'ok' | 'app-failed' | 'canceled';

/** What a request says about the process that it belongs to (PassengerStickySessions). */
export interface StickyWish {
  /** Sticky ids that the client has sent, of this app or of others, or made up. */
  readonly ids: readonly string[];
  /** Of a session that the app keeps in the memory of one process; asked when no id is right. */
  readonly session?: string;
}

/** What others may see of a process. */
export interface ProcessView {
  readonly pid: number;
  readonly key: string;
  /** The name that clients know it by: nobody can guess it, and nothing else can be learned from it. */
  readonly stickyId: string;
  readonly target: AppTarget;
  /** Sessions that it may hold; 0 = unlimited. */
  readonly concurrency: number;
  readonly sessions: number;
  /** @returns what ends the listening */
  onDrain(listener: () => void): () => void;
}

export interface Session {
  readonly process: ProcessView;
  readonly target: AppTarget;
  readonly stickyId: string;
  /** The path of a Unix target; empty for a port. */
  readonly socketPath: string;
  /** Calls when the process begins to drain, as long as the session is open. */
  onDrain(listener: () => void): void;
  /** Gives the slot back. Only the first call counts. */
  close(outcome: SessionOutcome): void;
}

/** The pool's side of a session. */
export interface SessionOwner<P extends ProcessView> {
  sessionClosed(process: P, outcome: SessionOutcome): void;
}

export class PoolSession<P extends ProcessView> implements Session {
  #open = true;
  #stopListening: (() => void) | undefined;

  constructor(
    readonly process: P,
    private readonly owner: SessionOwner<P>,
  ) {}

  get target(): AppTarget {
    return this.process.target;
  }

  get stickyId(): string {
    return this.process.stickyId;
  }

  get socketPath(): string {
    const target = this.process.target;
    return 'path' in target ? target.path : '';
  }

  onDrain(listener: () => void): void {
    if (!this.#open) return;
    this.#stopListening = this.process.onDrain(() => {
      if (this.#open) listener();
    });
  }

  close(outcome: SessionOutcome): void {
    if (!this.#open) return;
    this.#open = false;
    this.#stopListening?.();
    this.owner.sessionClosed(this.process, outcome);
  }
}
