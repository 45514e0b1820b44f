/**
 * May a request be sent again after its connection has ended without an answer? Pure rules; exchange.ts asks and acts.
 * Whatever may have had an effect is never repeated (RFC 9110 §9.2.2), and nothing of which a byte of an answer came.
 */
import { REQUEST_FLAG } from '../wire/frames.js';

export interface Ended {
  readonly error: string;
  /** Answers that came on the connection before. */
  readonly served: number;
  readonly parser: { readonly begun: boolean };
}

export interface Unanswered {
  /** Of the REQUEST frame. */
  readonly flags: number;
  /** All of the request is still there. */
  readonly repeatable: boolean;
  /** An interim answer counts. */
  readonly anythingSeen: boolean;
  readonly staleRetried: boolean;
  readonly attemptsLeft: boolean;
}

/** `again`: to the same process on a new connection; `elsewhere`: with another session; `never`: the client is told. */
export function nextTry(
  { error, served, parser }: Ended,
  request: Unanswered,
): 'again' | 'elsewhere' | 'never' {
  const safe = (request.flags & REQUEST_FLAG.REPLAYABLE) !== 0 && request.repeatable;
  if (!safe || parser.begun || request.anythingSeen) return 'never';
  // A kept connection that the app was just closing.
  if (served > 0 && !request.staleRetried) return 'again';
  // A reset says that the app closed with bytes unread (unix(7)): a process that died before it saw the request.
  return error === 'ECONNRESET' && request.attemptsLeft ? 'elsewhere' : 'never';
}
