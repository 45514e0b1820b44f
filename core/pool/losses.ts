/**
 * Processes that a group loses against its will: those that end by themselves, take no connections, or must not go
 * on. It says so in the log and counts what is a crash; what follows from that is decided by the group's setbacks.
 * Owned by the group.
 */
import type { Clock } from '../base/clock.js';
import type { PassengerError } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { ExitReason } from '../spawn/spawner.js';
import { exitText, type AppProcess } from './app-process.js';
import type { Setbacks } from './setbacks.js';

export interface LossHost {
  readonly clock: Clock;
  readonly log: Log;
}

/** A process that took no connections: it may be dead already, and we hear so a moment later. */
interface Refusal {
  readonly at: number;
  /** How it ended; before that, what is known. */
  end: string;
}

/** No signal of ours comes so early: an end in this time, and not in good order, was the reason of the refusal. */
const DEAD_ALREADY_MS = 250;

export class Losses {
  readonly #refusals = new WeakMap<AppProcess, Refusal>();

  constructor(
    private readonly host: LossHost,
    private readonly setbacks: Setbacks,
  ) {}

  /** The process has been reaped. While it served, that was not our wish. */
  exited(process: AppProcess, reason: ExitReason): void {
    const wasReady = process.state === 'ready';
    const now = this.host.clock.now();
    const refusal = this.#refusals.get(process);
    const wasDead = refusal !== undefined && now - refusal.at < DEAD_ALREADY_MS && reason.code !== 0;
    const livedMs = Math.round(process.livedMs(now));
    const end = exitText(reason);
    process.ended(end);
    if (!wasReady && !wasDead) return;
    this.host.log.report('PSG5005', { pid: process.pid, end, livedMs, sessions: process.sessions });
    if (refusal !== undefined) refusal.end = end;
    else this.#crashed(process, livedMs, () => end);
  }

  /** A process is of no use: it goes, and counts as a crash. */
  unreachable(process: AppProcess): void {
    if (process.state !== 'ready') return;
    this.host.log.report('PSG5011', { pid: process.pid });
    const at = this.host.clock.now();
    const refusal = { at, end: 'takes no connections' };
    this.#refusals.set(process, refusal);
    process.drain(refusal.end);
    this.#crashed(process, process.livedMs(at), () => refusal.end);
  }

  /**
   * A process must not go on: SIGKILL to its group. A start that is under way fails with the error.
   * @param crash whether it counts for the pause between starts
   */
  condemn(process: AppProcess, error: PassengerError, crash: boolean): void {
    const { state } = process;
    const livedMs = process.livedMs(this.host.clock.now());
    if (state !== 'starting') this.host.log.report(error.code, { pid: process.pid, ...error.details });
    process.condemn(error);
    if (state === 'ready' && crash) this.#crashed(process, livedMs, () => error.row.message);
  }

  /** Its last words may still be on the way; whoever reads of this later reads them, too. */
  #crashed(process: AppProcess, livedMs: number, end: () => string): void {
    this.setbacks.crashed(livedMs, end, () => process.lastOutput);
  }
}
