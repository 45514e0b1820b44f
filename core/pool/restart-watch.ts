/**
 * Looks at restart.txt and always_restart.txt of one group: when a request arrives, at most once in
 * PassengerStatThrottleRate seconds, and in the rounds of the pool (restart-rounds.ts) while the group has processes, so
 * that a restart does not wait for traffic. It only asks and compares; the files are looked at elsewhere (never on this thread), and the group decides what a change means.
 *
 * The first look records. A change is: restart.txt appears, or its time of modification (nanoseconds; older counts
 * too) or inode differs. Removal is no change. always_restart.txt counts at each look that a request has caused; once
 * it has been seen, each request causes one, as long as it is there (as with Passenger).
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import { errorText, type Fields } from '../base/errors.js';
import type { RestartRounds, RoundMember } from './restart-rounds.js';

export type RestartQuestion = 'restart.txt' | 'always_restart.txt';

export interface FileFacts {
  readonly exists: boolean;
  readonly mtimeNs: bigint;
  readonly inode: bigint;
}

/** Answers questions about files that belong to an app's user; a file that is not there is an answer, not an error. */
export interface FileQuestions {
  stat(appRoot: string, question: RestartQuestion, directory: string): Promise<FileFacts>;
}

export interface WatchOwner {
  readonly clock: Clock;
  readonly files: FileQuestions;
  readonly rounds: RestartRounds;
  readonly watched: { readonly appRoot: string; readonly directory: string; readonly throttleMs: number };
  /** Whether it has processes that a change would concern, or a pause that a change would end. */
  readonly awake: boolean;
  /**
   * A look is over.
   * @param cause which file wants a restart
   * @returns whether the group restarts; if not, restart.txt counts again at the next look
   */
  lookEnded(cause: RestartQuestion | undefined): boolean;
  /** A look takes too long: requests go on without it. */
  lookOverdue(): void;
  lookFailed(fields: Fields): void;
  /** `clearUntil` may have changed; after a look, when what it found has been acted upon. */
  watchMoved(): void;
}

/** What a request is to do: go on, wait for the look under way, or wait for the one after it. */
export type Hold = 'pass' | 'this' | 'next';

/** How long requests wait for a look. */
const LOOK_LIMIT_MS = 1000;
/** A look without an answer is given up after this time, so that the next one can be made. */
const ABANDON_MS = 30_000;
/** However often the file is touched: a few restarts in a row, then one in this time. */
const STORM_BURST = 3;
const STORM_REFILL_MS = 2000;

interface Look {
  readonly since: number;
  readonly first: boolean;
  readonly byRequest: boolean;
  overdue: boolean;
}

export class RestartWatch implements RoundMember {
  #look: Look | undefined;
  #lastLook = -Infinity;
  /** What is known of restart.txt; undefined before the first answer about this directory. */
  #known: string | undefined;
  #directory: string | undefined;
  /** Whether always_restart.txt was there at the last look. */
  #always = false;
  #limit: ClockTimer | undefined;
  #restartsLeft = STORM_BURST;
  #refilledAt: number;
  #closed = false;

  constructor(private readonly owner: WatchOwner) {
    this.#refilledAt = owner.clock.now();
  }

  /** Makes the first look and takes part in the rounds. */
  open(): void {
    this.#begin(false);
    this.owner.rounds.put(this);
  }

  /** The group is awake again; the rounds leave it out when it is not. */
  wake(): void {
    if (!this.#closed) this.owner.rounds.put(this);
  }

  /** PassengerStatThrottleRate may be another one. */
  throttleChanged(): void {
    if (!this.#closed && this.awake) this.owner.rounds.put(this);
    this.owner.watchMoved();
  }

  close(): void {
    this.#closed = true;
    this.owner.rounds.remove(this);
    if (this.#limit !== undefined) this.owner.clock.clearTimeout(this.#limit);
  }

  /** Whether a request may go on without asking; the way of nearly all requests. */
  clear(now: number): boolean {
    return now < this.clearUntil;
  }

  /** Until when requests may go on without asking, as things are now. */
  get clearUntil(): number {
    const { throttleMs } = this.owner.watched;
    const look = this.#look;
    if (look === undefined) return this.#always ? -Infinity : this.#lastLook + throttleMs;
    if (look.overdue) return look.since + Math.max(throttleMs, ABANDON_MS);
    return look.first && throttleMs > 0 ? Infinity : -Infinity;
  }

  /** Looks if it is time to. A request that came after a look began may only trust it if looks are throttled. */
  ask(now: number): Hold {
    if (this.clear(now)) return 'pass';
    if (this.#look === undefined || this.#look.overdue) {
      this.#begin(true);
      return 'this';
    }
    return this.owner.watched.throttleMs > 0 ? 'this' : 'next';
  }

  /** Looks again for those who wait for the next one. */
  again(): void {
    if (this.#look === undefined) this.#begin(true);
  }

  /** If not, the next request looks before it is served; until then nobody has anything of a look. */
  get awake(): boolean {
    return this.owner.awake;
  }

  /** When the next look in the rounds may be made. */
  get due(): number {
    return this.#lastLook + this.owner.watched.throttleMs;
  }

  look(): void {
    const free = this.#look === undefined || this.#look.overdue;
    if (free && !this.clear(this.owner.clock.now())) this.#begin(false);
  }

  #begin(byRequest: boolean): void {
    const { clock, files, watched } = this.owner;
    const now = clock.now();
    // A reload may have brought another directory: a file that has been there for long is no change.
    if (watched.directory !== this.#directory) this.#known = undefined;
    this.#directory = watched.directory;
    const look: Look = { since: now, first: this.#known === undefined, byRequest, overdue: false };
    this.#look = look;
    this.#lastLook = now;
    this.owner.watchMoved();
    if (this.#limit !== undefined) clock.clearTimeout(this.#limit);
    this.#limit = clock.setTimeout(() => this.#overdue(look), LOOK_LIMIT_MS);
    const ask = async (question: RestartQuestion): Promise<FileFacts> =>
      files.stat(watched.appRoot, question, watched.directory);
    Promise.all([ask('restart.txt'), ask('always_restart.txt')]).then(
      ([restart, always]) => {
        this.#answered(look, restart, always);
        this.owner.watchMoved();
      },
      (error: unknown) => {
        this.#failed(look, error);
        this.owner.watchMoved();
      },
    );
  }

  #overdue(look: Look): void {
    this.#limit = undefined;
    look.overdue = true;
    this.owner.watchMoved();
    this.owner.lookFailed({ waitedMs: LOOK_LIMIT_MS });
    this.owner.lookOverdue();
  }

  /** @returns false for the answer to a look that was given up */
  #finish(look: Look): boolean {
    if (this.#closed || this.#look !== look) return false;
    this.#look = undefined;
    if (this.#limit !== undefined) this.owner.clock.clearTimeout(this.#limit);
    this.#limit = undefined;
    return true;
  }

  #failed(look: Look, error: unknown): void {
    if (!this.#finish(look)) return;
    this.owner.lookFailed({ detail: errorText(error) });
    this.owner.lookEnded(undefined);
  }

  #answered(look: Look, restart: FileFacts, always: FileFacts): void {
    if (!this.#finish(look)) return;
    this.#always = always.exists;
    const stamp = restart.exists ? `${restart.mtimeNs}:${restart.inode}` : '';
    const changed = this.#known !== undefined && stamp !== '' && stamp !== this.#known;
    if (!changed) this.#known = stamp;
    if (changed && this.#restartLeft()) {
      if (!this.owner.lookEnded('restart.txt')) return;
      this.#known = stamp;
      this.#restartsLeft -= 1;
      return;
    }
    this.owner.lookEnded(always.exists && look.byRequest && !look.first ? 'always_restart.txt' : undefined);
  }

  #restartLeft(): boolean {
    const now = this.owner.clock.now();
    const refills = Math.floor((now - this.#refilledAt) / STORM_REFILL_MS);
    this.#refilledAt += refills * STORM_REFILL_MS;
    this.#restartsLeft = Math.min(STORM_BURST, this.#restartsLeft + refills);
    return this.#restartsLeft > 0;
  }
}
