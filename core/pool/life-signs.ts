/**
 * Who is alive, and what becomes of a process that let a request run out of time. One that has not reported for five
 * seconds is suspect: requests go to others, if there are any, until it reports again. A Node app whose loader still reports is alive: only
 * the request was slow. One that reports no more is stuck in a loop and would serve nobody. A program without a
 * loader cannot be asked: PassengerMaxRequestTime ends it, as it does in Phusion Passenger, the silence of one answer
 * does not. Owned by a group; the gateway reports the requests.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import { PassengerError } from '../base/errors.js';
import type { AppProcess } from './app-process.js';
import type { Losses } from './losses.js';
import { FROZEN_AFTER_MS, type SilenceWatch } from './silence-watch.js';
import type { Turn } from './turn.js';

/** Which limit the request has met: `silence` is Apache's Timeout, `time` is PassengerMaxRequestTime. */
export type OverdueLimit = 'silence' | 'time';

/** What has been said already is heard within this time, also when it was we who stood still. */
const HEAR_MS = 1000;

/** What is known of the process. */
export interface LifeSigns {
  /** Whether a loader in it reports. */
  readonly reports: boolean;
  /** Requests of others that it works on. */
  readonly others: number;
}

/** watch: kill it unless it reports; drain: replace it when the others are done. */
export type OverdueAction = 'nothing' | 'watch' | 'drain' | 'kill';

export function overdueAction(limit: OverdueLimit, { reports, others }: LifeSigns): OverdueAction {
  if (reports) return 'watch';
  if (limit === 'silence') return 'nothing';
  return others > 0 ? 'drain' : 'kill';
}

export interface LifeSignsHost {
  readonly clock: Clock;
  readonly turn: Turn;
  /** Of the processes of all groups. */
  readonly silence: SilenceWatch;
}

export class LifeSignsWatch {
  /** Of those that let a request run out of time: when they are judged. */
  readonly #accused = new Map<AppProcess, ClockTimer>();

  constructor(
    private readonly host: LifeSignsHost,
    private readonly losses: Losses,
  ) {}

  /** The process has become ready. */
  watch(process: AppProcess): void {
    if (process.reports) this.host.silence.add(process);
  }

  /** A session of the process is about to be closed because its request ran out of time. */
  overdue(process: AppProcess, limit: OverdueLimit): void {
    if (process.state !== 'ready') return;
    const { reports, sessions } = process;
    switch (overdueAction(limit, { reports, others: sessions - 1 })) {
      case 'watch':
        return this.#accuse(process);
      case 'drain':
        return process.drain('exceeded PassengerMaxRequestTime');
      case 'kill':
        return this.losses.condemn(process, new PassengerError('PSG5032'), false);
      case 'nothing':
    }
  }

  /** The process serves no more. */
  forget(process: AppProcess): void {
    this.host.silence.remove(process);
    const timer = this.#accused.get(process);
    if (timer !== undefined) this.host.clock.clearTimeout(timer);
    this.#accused.delete(process);
  }

  #accuse(process: AppProcess): void {
    if (this.#accused.has(process)) return;
    const { clock } = this.host;
    const heard = process.lastReport;
    const delayMs = Math.max(HEAR_MS, heard + FROZEN_AFTER_MS - clock.now());
    this.#accused.set(
      process,
      clock.setTimeout(() => this.#decide(process, heard), delayMs),
    );
  }

  #decide(process: AppProcess, heard: number): void {
    this.#accused.delete(process);
    if (process.lastReport > heard) return;
    const silentMs = Math.round(this.host.clock.now() - heard);
    this.host.turn.run(() => {
      this.losses.condemn(process, new PassengerError('PSG5031', { silentMs }), true);
    });
  }
}
