/** What a failed connect to an app process means: whether another attempt is due, and whether the process is to blame. Pure. */

export const MAX_CONNECT_ATTEMPTS = 4;
/** One in a sweep: five seconds, the patience of the module with the core. */
const MAX_BUSY_ATTEMPTS = 20;
/** More connections wait than the backlog of the process holds (connect(2), Unix sockets). */
const BUSY = 'EAGAIN';
const OUR_SHORTAGE: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE']);

export interface ConnectVerdict {
  readonly again: boolean;
  readonly blame: boolean;
}

/**
 * @param error the system's code
 * @param before failed attempts of the same request before this one
 */
export function judgeConnect(error: string, before: number): ConnectVerdict {
  const busy = error === BUSY;
  const again = before < (busy ? MAX_BUSY_ATTEMPTS : MAX_CONNECT_ATTEMPTS) - 1;
  // A burst is no fault of the process, unless it takes nothing for seconds; nor is it where we lack descriptors.
  return { again, blame: !OUR_SHORTAGE.has(error) && !(busy && again) };
}
