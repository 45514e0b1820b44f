/**
 * Sends idle processes away and forgets groups that nobody asks for, by one timer for the whole pool that is due when
 * the next one may be. The pool owns it. It looks only at those whose time may have come (idle-order.ts), and keeps
 * groups in the same lazy way: by a time before which nobody has asked for them last.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import { Heap } from '../base/heap.js';
import type { ServerSettings } from '../config/settings.js';
import type { AppGroup } from './app-group.js';
import type { IdleOrder } from './idle-order.js';
import { poolLimits } from './limits.js';
import type { Turn } from './turn.js';

export interface HousekeepingHost {
  readonly clock: Clock;
  readonly turn: Turn;
  readonly server: ServerSettings;
  readonly generation: number;
  /** When Apache has last read its configuration anew. */
  readonly reloadedAt: number | undefined;
  /** The group is not needed any more. */
  dismiss(group: AppGroup, reason: string): void;
}

/** The shortest time between two rounds: those who are due within it go together. */
const ROUND_FLOOR_MS = 1000;

export class Housekeeping {
  readonly #groups = new Heap<AppGroup>();
  #timer: ClockTimer | undefined;

  constructor(
    private readonly host: HousekeepingHost,
    private readonly idle: IdleOrder,
  ) {}

  /** A group has come: it will be looked at when it may have been idle for long enough. */
  groupAdded(group: AppGroup): void {
    const now = this.host.clock.now();
    this.#groups.set(group, now);
    this.#arm(now + this.#idleMs);
  }

  groupGone(group: AppGroup): void {
    this.#groups.delete(group);
  }

  /** The settings may be others. */
  reloaded(): void {
    this.close();
    if (this.#groups.size > 0) this.#arm(this.host.clock.now());
  }

  close(): void {
    if (this.#timer !== undefined) this.host.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Infinity = never. */
  get #idleMs(): number {
    return poolLimits(this.host.server).idleMs;
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
    const idleMs = this.#idleMs;
    if (idleMs === Infinity) return;
    const limit = now - idleMs;
    for (let process = this.idle.idleSince(limit, now); process !== undefined;) {
      process.drain('idle');
      process = this.idle.idleSince(limit, now);
    }
    for (let first = this.#groups.first; first !== undefined && first.key <= limit;) {
      this.#look(first.item, idleMs, now);
      first = this.#groups.first;
    }
    if (this.#groups.size === 0) return;
    const next = Math.min(this.idle.earliest, this.#groups.first?.key ?? Infinity) + idleMs;
    this.#arm(Math.max(next, now + ROUND_FLOOR_MS));
  }

  /** Groups that nobody asks for and that have nothing go, and groups that the configuration does not know any more. */
  #look(group: AppGroup, idleMs: number, now: number): void {
    const { reloadedAt, generation } = this.host;
    const wanted = group.queue.size > 0 || group.held > 0;
    const since = wanted ? now : group.lastRequest;
    if (now - since < idleMs) {
      this.#groups.set(group, since);
    } else if (reloadedAt !== undefined && now - reloadedAt >= idleMs && group.confirmed < generation) {
      this.host.dismiss(group, 'not configured any more');
    } else if (group.members.size === 0 && !group.lasting) {
      this.host.dismiss(group, 'unused');
    } else {
      this.#groups.set(group, now);
    }
  }
}
