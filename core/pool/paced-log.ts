/** Numbered messages that could come with each request: one line in ten seconds, with the number that it stands for. */
import type { Clock } from '../base/clock.js';
import type { ErrorCode } from '../base/error-codes.js';
import type { Fields } from '../base/errors.js';
import type { Log } from '../base/log.js';

const PACE_MS = 10_000;

export class PacedLog {
  readonly #since = new Map<ErrorCode, { at: number; times: number }>();

  constructor(
    private readonly log: Log,
    private readonly clock: Clock,
  ) {}

  report(code: ErrorCode, fields: Fields): void {
    const now = this.clock.now();
    const last = this.#since.get(code);
    if (last !== undefined && now - last.at < PACE_MS) {
      last.times += 1;
      return;
    }
    const silent = last?.times ?? 0;
    this.#since.set(code, { at: now, times: 0 });
    this.log.report(code, { ...fields, times: silent > 0 ? silent + 1 : undefined });
  }
}
