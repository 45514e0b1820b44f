/**
 * Asks the supervisor how much memory a process takes, where the core may not look itself (/proc mounted with hidepid).
 * Bounded in time; several who ask about the same process get the same answer. ProcessMemory asks.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import { deferred, type Deferred } from '../base/deferred.js';
import type { Message } from '../supervisor/messages.js';
import type { SupervisorLink } from './supervisor-channel.js';

interface Pending {
  readonly answer: Deferred<number | undefined>;
  readonly timer: ClockTimer;
}

const TIMEOUT_MS = 2000;

export class SupervisorMemory {
  readonly #pending = new Map<number, Pending>();

  constructor(
    private readonly link: SupervisorLink,
    private readonly clock: Clock,
  ) {}

  /** Bytes; undefined when the process is gone, or when there is no answer in time. */
  ask(pid: number): Promise<number | undefined> {
    const known = this.#pending.get(pid);
    if (known !== undefined) return known.answer.promise;
    const answer = deferred<number | undefined>();
    const timer = this.clock.setTimeout(() => this.#settle(pid, undefined), TIMEOUT_MS);
    this.#pending.set(pid, { answer, timer });
    this.link.send({ type: 'MEMORY', pid });
    return answer.promise;
  }

  handle({ pid, bytes }: Message<'MEMORY_RESULT'>): void {
    this.#settle(pid, bytes === 0n ? undefined : Number(bytes));
  }

  #settle(pid: number, bytes: number | undefined): void {
    const pending = this.#pending.get(pid);
    if (pending === undefined) return;
    this.#pending.delete(pid);
    this.clock.clearTimeout(pending.timer);
    pending.answer.resolve(bytes);
  }
}
