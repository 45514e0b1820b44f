/**
 * Time as an argument. Everything that waits or measures takes a Clock, so that tests can turn the hands
 * themselves; wall-clock time is only for people (logs, status), never for decisions.
 */

/** A pending call; `clearTimeout` of the clock that made it takes it back. */
export interface ClockTimer {
  readonly kind: 'clock-timer';
}

export interface Clock {
  /** Monotonic milliseconds since an arbitrary point; unaffected by changes of the system's date. */
  now(): number;
  /** The date and time of the system, for people. */
  wall(): Date;
  /** Calls `run` once after `delayMs` milliseconds. Timers do not keep the process alive. */
  setTimeout(run: () => void, delayMs: number): ClockTimer;
  clearTimeout(timer: ClockTimer): void;
}

/** The time of the system's monotonic clock, in milliseconds, at which `performance.now()` of this thread was 0. */
export function clockOrigin(): number {
  return Number(process.hrtime.bigint()) / 1e6 - performance.now();
}

/** The machine's clock in another thread, telling the same time as the thread with this origin. */
export function clockInStepWith(origin: number): Clock {
  const ahead = clockOrigin() - origin;
  return { ...systemClock, now: () => performance.now() + ahead };
}

class SystemTimer implements ClockTimer {
  readonly kind = 'clock-timer';
  constructor(readonly handle: NodeJS.Timeout) {}
}

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => new Date(),
  setTimeout: (run, delayMs) => {
    const handle = setTimeout(run, delayMs);
    handle.unref();
    return new SystemTimer(handle);
  },
  clearTimeout: (timer) => {
    if (timer instanceof SystemTimer) clearTimeout(timer.handle);
  },
};
