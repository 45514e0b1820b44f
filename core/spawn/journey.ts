/**
 * The recorded steps of one spawn, so that a failure says where it happened and a slow start says where the time went.
 * Steps only move forward; the last one that was begun is the one to blame. Written by spawn-run.ts.
 */
import type { Clock } from '../base/clock.js';

/**
 * prepare: decisions and choices in the core. detect: looking for the startup file. fork: supervisor, until exec has
 * succeeded. boot: login shell and interpreter. loading: the app's own code, until it listens. proving: it could serve, and
 * has to live for a moment before it does. ready: done.
 */
export const JOURNEY_STEPS = [
  'prepare',
  'detect',
  'fork',
  'boot',
  'loading',
  'listening',
  'proving',
  'ready',
] as const;
export type JourneyStep = (typeof JOURNEY_STEPS)[number];

export interface JourneyEntry {
  readonly step: JourneyStep;
  /** Milliseconds spent in it so far. */
  readonly ms: number;
  readonly state: 'done' | 'under way' | 'failed';
}

export class Journey {
  readonly #begun: { step: JourneyStep; at: number }[] = [];
  #end: { at: number; failed: boolean } | undefined;

  constructor(private readonly clock: Clock) {}

  /** The step under way, or the last one. */
  get step(): JourneyStep {
    return this.#begun.at(-1)?.step ?? 'prepare';
  }

  /** Milliseconds since the first step began. */
  get totalMs(): number {
    const first = this.#begun[0];
    return first === undefined ? 0 : Math.round((this.#end?.at ?? this.clock.now()) - first.at);
  }

  /** Begins a step and ends the one before. A step that lies behind, and anything after the end, is ignored. */
  begin(step: JourneyStep): void {
    const current = this.#begun.at(-1);
    const forward =
      current === undefined || JOURNEY_STEPS.indexOf(step) > JOURNEY_STEPS.indexOf(current.step);
    if (this.#end === undefined && forward) this.#begun.push({ step, at: this.clock.now() });
  }

  finish(): void {
    this.begin('ready');
    this.#end ??= { at: this.clock.now(), failed: false };
  }

  fail(): void {
    this.#end ??= { at: this.clock.now(), failed: true };
  }

  entries(): readonly JourneyEntry[] {
    return this.#begun.map(({ step, at }, index) => {
      const next = this.#begun[index + 1]?.at;
      const ms = Math.round((next ?? this.#end?.at ?? this.clock.now()) - at);
      if (next !== undefined) return { step, ms, state: 'done' };
      if (this.#end === undefined) return { step, ms, state: 'under way' };
      return { step, ms, state: this.#end.failed ? 'failed' : 'done' };
    });
  }

  /** `prepare 1 ms, fork 4 ms, boot failed after 20 ms` */
  text(): string {
    const words = { done: '', 'under way': 'under way for ', failed: 'failed after ' } as const;
    return this.entries()
      .map(({ step, ms, state }) => `${step} ${words[state]}${ms} ms`)
      .join(', ');
  }
}
