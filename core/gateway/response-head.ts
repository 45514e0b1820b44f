/**
 * The head of an answer before and after: as the app sent it (made by response-parser.ts) and as it goes out (made by
 * headers.ts). Types only, so that neither of the two needs the other.
 */

/** How a body ends. */
export type Framing = 'none' | 'length' | 'chunked' | 'close';

/** Parsed, and otherwise as the app sent it. */
export interface RawHead {
  readonly versionMinor: number;
  readonly statusCode: number;
  readonly statusMessage: string;
  /** Names and values by turns, in the order of the app. */
  readonly headers: readonly string[];
  /** What headers.ts made of it for a plain request: kept with a head that may come again. */
  plain?: ResponseHead;
}

/** As it goes out, and what it says about the body and the connection to the app. */
export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly count: number;
  readonly fields: string;
  /** The payload of its HEAD frame. */
  readonly text: string;
  /** The rule that it was made with. */
  readonly poweredBy: string;
  readonly framing: Framing;
  /** Of the body, for framing `length`. */
  readonly length: number;
  /** Whether the app keeps the connection. */
  readonly keepAlive: boolean;
  /** `timeout` of the app's Keep-Alive field in seconds; 0 when it names none. */
  readonly keepAliveSeconds: number;
}
