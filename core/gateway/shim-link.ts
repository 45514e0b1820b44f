import type { Room } from './rooms.js';

/** What an exchange sees of the connection to the shim. Implemented by ShimConnection. */
export interface ShimLink {
  /** One call is one write: put together what belongs together. Takes the bytes over, and the room that they are in. */
  write(bytes: Buffer, room?: Room): void;
  /** The same for bytes that stay the caller's: what does not go out at once is copied. */
  writeLent(bytes: Buffer, start: number, end: number): void;
  /** More is unwritten than should be: stop the source until `shimDrained`. */
  readonly backlogged: boolean;
  /** Bytes that the shim has taken so far, of this exchange and those before. */
  readonly taken: number;
  /** Stop reading what the shim sends; also CANCEL waits then. */
  pause(): void;
  resume(): void;
  /** Whether the shim's side of the exchange has ended. */
  readonly shimEnded: boolean;
  /** The core's side of the exchange has ended: END or ABORT is written. */
  coreEnded(): void;
  /** The same for a tunnel. Behind END the shim hears only by the connection's end that its own direction is over, too. */
  finish(): void;
}
