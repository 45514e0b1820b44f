/**
 * Sends idle processes away and forgets groups that nobody asks for, by one timer for the whole pool that is due when
 * the next process may be. The pool owns it; what is idle for how long says scaling.ts.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import type { ServerSettings } from '../config/settings.js';
import type { AppGroup } from './app-group.js';
import { poolLimits } from './limits.js';
import { idleLeavers, nextIdleTime } from './scaling.js';
import type { Turn } from './turn.js';

export interface HousekeepingHost {
  readonly clock: Clock;
  readonly turn: Turn;
  readonly server: ServerSettings;
  readonly generation: number;
  /** When Apache has last read its configuration anew. */
  readonly reloadedAt: number | undefined;
  active(): Iterable<AppGroup>;
  /** The group is not needed any more. */
  dismiss(group: AppGroup, reason: string): void;
}

export class Housekeeping {
  #timer: ClockTimer | undefined;

  constructor(private readonly host: HousekeepingHost) {}

  /** A group has come: it will be looked at when it may have been idle for long enough. */
  groupAdded(): void {
    this.#arm(this.host.clock.now() + poolLimits(this.host.server).idleMs);
  }

  /** The settings may be others. */
  reloaded(): void {
    this.#arm(this.host.clock.now());
  }

  close(): void {
    if (this.#timer !== undefined) this.host.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(due: number): void {
    const { clock, turn } = this.host;
    if (this.#timer !== undefined || due === Infinity) return;
    const delay = Math.max(0, Math.ceil(due - clock.now()));
    this.#timer = clock.setTimeout(() => turn.run(() => this.#sweep()), delay);
  }

  #sweep(): void {
    this.#timer = undefined;
    const now = this.host.clock.now();
    const { idleMs } = poolLimits(this.host.server);
    if (idleMs === Infinity) return;
    let next = now + idleMs;
    for (const group of [...this.host.active()]) {
      for (const process of idleLeavers(group.serving, group.kept, idleMs, now)) process.drain('idle');
      next = Math.min(next, nextIdleTime(group.serving, group.kept, idleMs, now));
      this.#forget(group, idleMs, now);
    }
    this.#arm(Math.max(next, now + 1));
  }

  /** Groups that nobody asks for and that have nothing, and groups that the configuration does not know any more. */
  #forget(group: AppGroup, idleMs: number, now: number): void {
    const { reloadedAt, generation } = this.host;
    if (group.queue.size > 0 || group.held > 0 || now - group.lastRequest < idleMs) return;
    if (reloadedAt !== undefined && now - reloadedAt >= idleMs && group.confirmed < generation) {
      this.host.dismiss(group, 'not configured any more');
    } else if (group.members.size === 0) {
      this.host.dismiss(group, 'unused');
    }
  }
}
