/**
 * May a request be sent again after its connection has ended without an answer, and to whom? Rules and what they have to
 * remember of one request; app-call.ts asks and acts. Whatever may have had an effect is never repeated (RFC 9110 §9.2.2),
 * and nothing of which a byte of an answer came.
 *
 * How a connection ends tells whether the app has read the request (`UpstreamConnection.error`):
 *   a failed write or a reset   it closed before it had read all (unix(7)): an idle connection, or a process that has
 *                               ended. What has a body may have been read in part
 *   an end in good order        it has read the request, and then closed the connection or died
 * A request that was read may be what the process died of. It is repeated in the same process at most, which closes a
 * connection now and then, and never in another one: so one request kills one process.
 */
import { REQUEST_FLAG } from '../wire/frames.js';
import { judgeConnect, MAX_CONNECT_ATTEMPTS, type ConnectVerdict } from './connect-verdict.js';

const WITHOUT_BODY = REQUEST_FLAG.NO_BODY | REQUEST_FLAG.UPGRADE;

export interface Ended {
  /** Empty: the app has ended the connection in good order, after it had read what it got. */
  readonly error: string;
  /** The system has taken nothing of the request for the app. */
  readonly untouched: boolean;
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
}

/** `again`: to the same process on a new connection; `elsewhere`: with another session; `never`: the client is told. */
export type NextTry = 'again' | 'elsewhere' | 'never';

/** The tries of one request. */
export class Tries {
  /** Those that have ended with a wish for another session. */
  #elsewhere = 0;
  #again = false;
  /** A process has read the request: no other one gets it. */
  #read = false;

  afterEnd({ error, untouched, served, parser }: Ended, request: Unanswered): NextTry {
    const safe = untouched || (request.flags & REQUEST_FLAG.REPLAYABLE) !== 0;
    const unseen = !parser.begun && !request.anythingSeen;
    if (!safe || !unseen || !request.repeatable || this.#read) return 'never';
    const inOnePiece = (request.flags & WITHOUT_BODY) !== 0;
    this.#read = error === '' || (!untouched && !inOnePiece);
    // A kept connection that the app was just closing.
    if (served > 0 && !this.#again) {
      this.#again = true;
      return 'again';
    }
    return this.#read || this.#elsewhere >= MAX_CONNECT_ATTEMPTS - 1 ? 'never' : 'elsewhere';
  }

  /** A process has taken no connection. One that had read the request has ended, and the pool hears how. */
  afterConnect(error: string, repeatable: boolean): ConnectVerdict {
    if (this.#read) return { again: false, blame: false };
    const { again, blame } = judgeConnect(error, this.#elsewhere);
    return { again: again && repeatable, blame };
  }

  /** Another session is asked for. @returns whether at once: for the first time another process may be there */
  moveOn(): boolean {
    this.#elsewhere += 1;
    return this.#elsewhere === 1;
  }

  /** The process that the request was read by has gone, most probably because of it. */
  get deadly(): boolean {
    return this.#read;
  }
}
