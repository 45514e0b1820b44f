/**
 * The slots of a group's processes: which process a request gets a session of, if that has one free. A request that
 * belongs to a process gets that one or none; others get the best (routing/choose.ts). The group owns it and says who
 * serves; who waits, and in which order, is for admission.ts.
 */
import type { AppProcess } from './app-process.js';
import { PoolSession, type Session, type SessionOwner, type StickyWish } from './session.js';
import { StickySessions } from './sticky-sessions.js';

export interface SlotsHost extends SessionOwner<AppProcess> {
  /** The processes that take sessions. */
  readonly serving: readonly AppProcess[];
}

export class Slots {
  readonly #sticky = new StickySessions<AppProcess>();

  constructor(
    private readonly host: SlotsHost,
    private readonly choose: (candidates: readonly AppProcess[]) => AppProcess | undefined,
  ) {}

  /** The best process for a request that belongs to none; undefined when all are busy. */
  best(): AppProcess | undefined {
    return this.choose(this.host.serving);
  }

  /** The process that a request belongs to, whether it has a free slot or not. */
  owner(sticky: StickyWish | undefined): AppProcess | undefined {
    return sticky === undefined ? undefined : this.#sticky.find(sticky, this.host.serving);
  }

  /** @returns undefined when the process that it has to be is busy, or all are */
  open(now: number, sticky?: StickyWish): Session | undefined {
    const owner = this.owner(sticky);
    if (owner !== undefined) return this.openWith(owner, now);
    for (;;) {
      const process = this.best();
      if (process === undefined) return undefined;
      const session = this.openWith(process, now);
      // Another thread may have taken the last slot: then this one is not chosen again.
      if (session === undefined) continue;
      if (sticky !== undefined) this.#sticky.remember(sticky, process);
      return session;
    }
  }

  openWith(process: AppProcess, now: number): Session | undefined {
    return process.openSession(now) ? new PoolSession(process, this.host) : undefined;
  }
}
