/**
 * How many requests wait, of all groups together, and whether one more may (PassengerMaxWaitingRequests). The pool
 * owns it; the lists of each group tell it their sizes (admission.ts). It counts those that are held for a look at the
 * restart files as well as those in waiting lines, and decides nothing about who of them is served.
 */
import type { Clock } from '../base/clock.js';
import { PassengerError } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { PacedLog } from '../base/paced-log.js';
import type { ServerSettings } from '../config/settings.js';
import { poolLimits } from './limits.js';

export interface WaitingTotalHost {
  readonly clock: Clock;
  readonly log: Log;
  /** As they are now. */
  readonly server: ServerSettings;
}

export class WaitingTotal {
  #count = 0;
  /** One pace for all groups, or ten thousand of them would say the same at once. */
  readonly #refusals: PacedLog;

  constructor(private readonly host: WaitingTotalHost) {
    this.#refusals = new PacedLog(host.log, host.clock);
  }

  get count(): number {
    return this.#count;
  }

  /** A limit that was lowered is reached by waiting; nobody who waits is sent away. */
  get full(): boolean {
    return this.#count >= poolLimits(this.host.server).maxWaiting;
  }

  /** @returns what a list calls with its size, after each change */
  member(): (size: number) => void {
    let before = 0;
    return (size) => {
      this.#count += size - before;
      before = size;
    };
  }

  /** What a request gets that finds it full. */
  refusal(): PassengerError {
    const { maxWaiting } = poolLimits(this.host.server);
    const error = new PassengerError('PSG5020', { maxWaiting });
    this.#refusals.report(error.code, error.details);
    return error;
  }
}
