/**
 * What a group does after a failed start or a crash: the pause in which nothing is started, and the error that
 * everybody gets meanwhile while nothing runs. It arms the one timer of the pause; how long that is says backoff.ts.
 * Owned by its group, which reports what happened to its processes.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import { errorText, PassengerError, type Fields } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { Backoff, STABLE_AFTER_MS } from './backoff.js';
import type { Turn } from './turn.js';

export interface SetbackHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly turn: Turn;
  /** A pause has begun or is over: those who wait may have to be told, processes may be started again. */
  pauseMoved(): void;
}

export class Setbacks {
  readonly #backoff: Backoff;
  /** Why nothing runs; given to requests while the pause lasts. */
  #failure: PassengerError | undefined;
  #pauseTimer: ClockTimer | undefined;
  #proven = false;

  /** @param random a number from 0 up to 1 */
  constructor(
    private readonly host: SetbackHost,
    random: () => number,
  ) {
    this.#backoff = new Backoff(random);
  }

  /** Whether nothing is started because of failures. The timer says so, so that the end of a pause is one event. */
  get paused(): boolean {
    return this.#pauseTimer !== undefined;
  }
  get failure(): PassengerError | undefined {
    return this.#failure;
  }
  /** The end of the pause on the monotonic clock. */
  get until(): number {
    return this.#backoff.until;
  }

  /** Whether a process of this code has run well before one ended: what is wrong may pass by itself. */
  get proven(): boolean {
    return this.#proven;
  }

  startFailed(failure: PassengerError): void {
    const pauseMs = this.#backoff.startFailed(this.host.clock.now());
    this.host.log.report('PSG5003', {
      ...failedStart(failure),
      pauseMs: Math.round(pauseMs),
    });
    this.#failure = failure;
    this.#pause();
  }

  /**
   * A ready process has ended by itself or is of no use.
   * @param end how, for people: `exit code 1`, `SIGKILL`; as far as it is known when somebody looks
   * @param lastOutput what it has said last; likewise
   */
  crashed(livedMs: number, end: () => string, lastOutput: () => string): void {
    if (livedMs >= STABLE_AFTER_MS) this.#proven = true;
    const pauseMs = this.#backoff.crashed(this.host.clock.now(), livedMs);
    if (pauseMs > 0) {
      const crashes = this.#backoff.failures;
      const rounded = Math.round(livedMs);
      this.#failure = new PassengerError('PSG5006', {
        crashes,
        get end(): string {
          return end();
        },
        livedMs: rounded,
        get lastOutput(): string | undefined {
          const text = lastOutput();
          return text === '' ? undefined : text;
        },
      });
      const details = { crashes, end: end(), livedMs: rounded, pauseMs: Math.round(pauseMs) };
      this.host.log.report(this.#failure.code, details);
    }
    this.#pause();
  }

  /** A process has become ready. It may leave before the pause is over, and then nothing runs again. */
  started(): void {
    if (!this.paused) this.#failure = undefined;
  }

  /** The code has changed: the past does not count. */
  reset(): void {
    this.#backoff.reset();
    this.close();
    this.#failure = undefined;
    this.#proven = false;
  }

  /** Ends its timer. */
  close(): void {
    if (this.#pauseTimer !== undefined) this.host.clock.clearTimeout(this.#pauseTimer);
    this.#pauseTimer = undefined;
  }

  #pause(): void {
    const now = this.host.clock.now();
    this.close();
    if (this.#backoff.active(now)) {
      const delayMs = Math.ceil(this.#backoff.until - now);
      this.#pauseTimer = this.host.clock.setTimeout(() => this.#over(), delayMs);
    }
    this.host.pauseMoved();
  }

  #over(): void {
    this.#pauseTimer = undefined;
    this.host.turn.run(() => this.#pause());
  }
}

/** The error that says why a start has failed, whatever came out of the code that starts processes. */
export function startError(error: unknown): PassengerError {
  if (error instanceof PassengerError) return error;
  return new PassengerError('PSG5004', { detail: errorText(error) }, { cause: error });
}

/**
 * What of a failure's details may stand in one line: output, stacks and other long texts are the page's business. What the
 * supervisor says is bounded by its message and always there, as it names the place.
 */
export function loggable(failure: PassengerError): Fields {
  return Object.fromEntries(
    Object.entries(failure.details).filter(
      ([name, value]) => name === 'detail' || typeof value !== 'string' || value.length <= 200,
    ),
  );
}

/** The fields of a line about a failed start: what is known, and number and sentence of the failure. */
export function failedStart(failure: PassengerError): Fields {
  return { ...loggable(failure), error: failure.code, why: failure.row.message };
}
