/**
 * The limits of time that an exchange is measured by at each sweep: what has passed which of them, and the number that
 * says so. Pure; exchange.ts asks and acts. Times are milliseconds.
 */
import type { ErrorCode } from '../base/error-codes.js';
import type { Fields } from '../base/errors.js';
import type { OverdueLimit } from './session-source.js';

export interface Passed {
  readonly code: ErrorCode;
  readonly fields: Fields;
  /** Which limit of the app's it was; absent where it is not the app that was too slow. */
  readonly overdue?: OverdueLimit;
}

/** What was noted as now may be a sweep older, and a sweep may be late: no limit of an app's ends before its time. */
const CLOCK_SLACK_MS = 300;

/** PassengerMaxRequestTime. @param seconds 0: no limit */
function tookTooLong(sinceSent: number, seconds: number, headSent: boolean): Passed | undefined {
  if (seconds === 0 || sinceSent <= seconds * 1000 + CLOCK_SLACK_MS) return undefined;
  return { code: headSent ? 'PSG4013' : 'PSG4012', fields: { seconds }, overdue: 'time' };
}

/** @param appIsDue whether it is the app that we wait for, and not the client's upload */
function silentTooLong(
  silentMs: number,
  limitMs: number,
  { appIsDue, headSent }: { readonly appIsDue: boolean; readonly headSent: boolean },
): Passed | undefined {
  if (!appIsDue) return silentMs > 2 * limitMs ? { code: 'PSG4010', fields: {} } : undefined;
  if (silentMs <= limitMs + CLOCK_SLACK_MS) return undefined;
  return {
    code: headSent ? 'PSG4006' : 'PSG4005',
    fields: { silentMs: Math.round(silentMs) },
    overdue: 'silence',
  };
}

/** Times are milliseconds. */
export interface TimeFacts {
  /** Since an app got the request. */
  readonly sinceSent: number;
  readonly silentMs: number;
  readonly headSent: boolean;
  readonly appIsDue: boolean;
}

/** @param silenceMs Apache's Timeout, 0 = no limit */
export function passedLimit(facts: TimeFacts, maxSeconds: number, silenceMs: number): Passed | undefined {
  const late = tookTooLong(facts.sinceSent, maxSeconds, facts.headSent);
  if (late !== undefined || silenceMs === 0) return late;
  return silentTooLong(facts.silentMs, silenceMs, facts);
}
