/**
 * Looks at the memory of processes whose app has a limit, by one timer for the whole pool, and tells their groups what
 * has to go. The timer runs only while there are such processes, and each is looked at when it is due. Memory is what
 * the system says, never what an app says of itself. The pool owns it; memory-rules.ts decides.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import { PassengerError } from '../base/errors.js';
import type { AppGroup } from './app-group.js';
import type { AppProcess } from './app-process.js';
import { Backoff } from './backoff.js';
import {
  judgeMemory,
  memoryLimited,
  nextLookMs,
  type MemoryLimits,
  type MemoryLook,
} from './memory-rules.js';
import type { Turn } from './turn.js';

export interface MemoryQuestions {
  /**
   * Bytes that each process and whatever belongs to it takes. Those that are gone are missing. Never rejects, and
   * always answers within seconds.
   */
  measure(pids: readonly number[]): Promise<ReadonlyMap<number, number>>;
}

export interface MemoryWatchHost {
  readonly clock: Clock;
  readonly turn: Turn;
  readonly memory: MemoryQuestions;
  /** A number from 0 up to 1. */
  readonly random: () => number;
}

/** A process without a pid yet, or one that could not be measured, is looked at again after this time. */
const AGAIN_MS = 500;
/** Looks that are due within this time are made together. */
const TOGETHER_MS = 50;
const MB = 2 ** 20;

interface Watched {
  readonly look: MemoryLook | undefined;
  /** How long it had lived when it was first seen above PassengerMemoryLimit. */
  readonly wornAfterMs: number | undefined;
  /** When to look next. */
  readonly due: number;
}

/** A process that is looked at now. */
interface Candidate {
  readonly group: AppGroup;
  readonly process: AppProcess;
}

export class MemoryWatch {
  /** Groups with a limit and with processes; also those that get no more requests. */
  readonly #groups = new Set<AppGroup>();
  readonly #watched = new WeakMap<AppProcess, Watched>();
  /** Pauses between replacements of processes that take too much soon after their start. */
  readonly #pauses = new WeakMap<AppGroup, Backoff>();
  #timer: ClockTimer | undefined;
  #timerDue = Infinity;
  #measuring = false;
  #closed = false;

  constructor(private readonly host: MemoryWatchHost) {}

  /** A process of this group has been ordered, or its limits may be others. */
  groupChanged(group: AppGroup): void {
    if (!memoryLimited(group.limits.memory) || group.members.size === 0) return;
    this.#groups.add(group);
    this.#arm(this.host.clock.now());
  }

  /** What was last measured; undefined for a process without a limit. */
  bytesOf(process: AppProcess): number | undefined {
    return this.#watched.get(process)?.look?.bytes;
  }

  close(): void {
    this.#closed = true;
    this.#disarm();
  }

  #disarm(): void {
    if (this.#timer !== undefined) this.host.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerDue = Infinity;
  }

  #arm(due: number): void {
    // While it measures, the end of that arms the timer.
    if (this.#closed || this.#measuring || due >= this.#timerDue) return;
    this.#disarm();
    const { clock } = this.host;
    const delayMs = Math.max(TOGETHER_MS, Math.ceil(due - clock.now()));
    this.#timerDue = clock.now() + delayMs;
    this.#timer = clock.setTimeout(() => void this.#look(), delayMs);
  }

  *#limited(): Generator<Candidate> {
    for (const group of this.#groups) {
      if (!memoryLimited(group.limits.memory) || group.members.size === 0) this.#groups.delete(group);
      else for (const process of group.members) yield { group, process };
    }
  }

  async #look(): Promise<void> {
    this.#disarm();
    const { clock, turn, memory } = this.host;
    const soon = clock.now() + TOGETHER_MS;
    const due = [...this.#limited()].filter(
      ({ process }) => (this.#watched.get(process)?.due ?? 0) <= soon && process.systemPid !== 0,
    );
    this.#measuring = true;
    const measured =
      due.length === 0
        ? new Map<number, number>()
        : await memory.measure(due.map(({ process }) => process.systemPid));
    this.#measuring = false;
    if (this.#closed) return;
    turn.run(() => {
      for (const candidate of due) this.#judge(candidate, measured.get(candidate.process.systemPid));
    });
    this.#armNext();
  }

  #armNext(): void {
    const now = this.host.clock.now();
    let next = Infinity;
    for (const { process } of this.#limited()) {
      next = Math.min(next, this.#watched.get(process)?.due ?? now + AGAIN_MS);
    }
    if (next < Infinity) this.#arm(next);
  }

  #judge({ group, process }: Candidate, bytes: number | undefined): void {
    const now = this.host.clock.now();
    const { look: before, wornAfterMs } = this.#watched.get(process) ?? {};
    if (process.state === 'exited' || bytes === undefined) {
      this.#watched.set(process, { look: before, wornAfterMs, due: now + AGAIN_MS });
      return;
    }
    const limits = group.limits.memory;
    const look = { bytes, at: now };
    const verdict = judgeMemory(bytes, limits);
    const afterMs = verdict === 'worn' ? (wornAfterMs ?? process.livedMs(now)) : undefined;
    this.#watched.set(process, { look, wornAfterMs: afterMs, due: now + nextLookMs(look, before, limits) });
    if (afterMs !== undefined) this.#worn({ group, process }, bytes, afterMs);
    if (verdict === 'over') group.losses.condemn(process, hardLimitError(bytes, limits), true);
  }

  /**
   * An app that takes more than its limit as soon as it runs would be started all the time: like one that crashes soon
   * after its start it gets growing pauses, and serves meanwhile.
   */
  #worn({ group, process }: Candidate, bytes: number, afterMs: number): void {
    if (process.state !== 'ready' || process.wornBy !== undefined) return;
    const now = this.host.clock.now();
    const pauses = this.#pauses.get(group) ?? new Backoff(this.host.random);
    this.#pauses.set(group, pauses);
    if (pauses.active(now)) return;
    const pauseMs = Math.round(pauses.crashed(now, afterMs));
    if (pauseMs > 0) {
      const { softBytes } = group.limits.memory;
      group.log.report('PSG5033', {
        memoryMB: Math.round(bytes / MB),
        limitMB: Math.round(softBytes / MB),
        pauseMs,
      });
    }
    group.replace(process, 'PassengerMemoryLimit');
  }
}

function hardLimitError(bytes: number, { hardBytes }: MemoryLimits): PassengerError {
  return new PassengerError('PSG5030', {
    memoryMB: Math.round(bytes / MB),
    limitMB: Math.round(hardBytes / MB),
  });
}
