/**
 * Numbered messages that could come with each request: one line for each number and key in ten seconds, with the
 * number of times that it stands for. Whoever has a timer anyway calls `sweep`, so that what was counted last is told
 * even if it never happens again.
 */
import type { Clock } from './clock.js';
import type { ErrorCode } from './error-codes.js';
import type { Fields } from './errors.js';

/** A log; or another paced log, which then keeps one pace for several that feed it. */
export interface PacedSink {
  /** @param fields with `times` where the line stands for more than one */
  report(code: ErrorCode, fields: Fields, key: string): void;
}

const PACE_MS = 10_000;

interface Series {
  readonly code: ErrorCode;
  readonly key: string;
  readonly since: number;
  /** Of the last one that was held back. */
  fields: Fields;
  silent: number;
}

export class PacedLog implements PacedSink {
  readonly #series = new Map<string, Series>();

  constructor(
    private readonly sink: PacedSink,
    private readonly clock: Pick<Clock, 'now'>,
    private readonly paceMs = PACE_MS,
  ) {}

  /** @param key what has a pace of its own, for example an app */
  report(code: ErrorCode, fields: Fields, key = ''): void {
    const now = this.clock.now();
    const times = typeof fields['times'] === 'number' ? fields['times'] : 1;
    const name = key === '' ? code : `${code} ${key}`;
    const last = this.#series.get(name);
    if (last !== undefined && now - last.since < this.paceMs) {
      last.silent += times;
      last.fields = fields;
      return;
    }
    const all = (last?.silent ?? 0) + times;
    this.#series.set(name, { code, key, since: now, fields, silent: 0 });
    this.sink.report(code, { ...fields, times: all > 1 ? all : undefined }, key);
  }

  /** Tells what was held back, and forgets what is over. */
  sweep(): void {
    if (this.#series.size === 0) return;
    const now = this.clock.now();
    for (const [name, { code, key, since, fields, silent }] of this.#series) {
      if (now - since < this.paceMs) continue;
      this.#series.delete(name);
      if (silent === 0) continue;
      this.#series.set(name, { code, key, since: now, fields, silent: 0 });
      this.sink.report(code, { ...fields, times: silent }, key);
    }
  }
}
