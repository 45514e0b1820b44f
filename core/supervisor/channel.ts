/**
 * One end of the channel between supervisor and core: sends and receives whole messages with descriptors. Used by both
 * ends; decides nothing. A peer that does not read never blocks us: messages wait here, in order and bounded.
 */
import { closeFd, receiveRecords, sendRecord, type Receiver } from '../native.js';
import { systemClock, type Clock, type ClockTimer } from '../base/clock.js';
import { CHANNEL_LIMIT } from './records.js';
import { decodeBytes, encodeMessage, type Message, type MessageType } from './messages.js';

/** More than this many waiting messages, and the peer counts as dead. */
const QUEUE_LIMIT = 4096;
const RETRY_MS = 5;

export interface ChannelHandlers<In extends MessageType> {
  /** The handler owns `fds`. */
  onMessage(message: Message<In>, fds: number[]): void;
  /** Last call: end of file (undefined) or what was wrong with the peer. Not after `close`. */
  onEnd(problem: Error | undefined): void;
}

interface Waiting {
  readonly bytes: Buffer;
  readonly fds: readonly number[];
  readonly sent: () => void;
}

export class Channel<In extends MessageType, Out extends MessageType> {
  #queue: Waiting[] = [];
  #timer: ClockTimer | undefined;
  #receiver: Receiver;
  #open = true;

  /** Takes ownership of `fd`. */
  constructor(
    private readonly fd: number,
    private readonly allowed: readonly In[],
    private readonly handlers: ChannelHandlers<In>,
    private readonly clock: Clock = systemClock,
  ) {
    this.#receiver = receiveRecords(
      fd,
      CHANNEL_LIMIT,
      (bytes, fds) => this.#receive(bytes, fds),
      (errno) => this.#end(errno === 0 ? undefined : new Error(`channel: errno ${errno}`)),
    );
  }

  /**
   * @param fds stay the caller's and must stay open until `sent` was called (also called when the channel closes)
   * @throws PassengerError PSG7001 when the message is too long
   */
  send(message: Message<Out>, fds: readonly number[] = [], sent: () => void = () => undefined): void {
    const bytes = encodeMessage(message);
    if (!this.#open) {
      sent();
      return;
    }
    this.#queue.push({ bytes, fds, sent });
    if (this.#queue.length > QUEUE_LIMIT) this.#end(new Error('channel: peer does not read'));
    else if (this.#timer === undefined) this.#flush();
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#timer !== undefined) this.clock.clearTimeout(this.#timer);
    this.#receiver.close();
    closeFd(this.fd);
    for (const waiting of this.#queue.splice(0)) waiting.sent();
  }

  #flush(): void {
    this.#timer = undefined;
    for (;;) {
      const next = this.#queue[0];
      if (next === undefined || !this.#open) return;
      if (!this.#transmit(next)) return;
      this.#queue.shift();
      next.sent();
    }
  }

  #transmit(next: Waiting): boolean {
    try {
      if (sendRecord(this.fd, next.bytes, next.fds)) return true;
      this.#timer = this.clock.setTimeout(() => this.#flush(), RETRY_MS);
    } catch (error) {
      this.#end(error instanceof Error ? error : new Error(String(error)));
    }
    return false;
  }

  #receive(bytes: Buffer, fds: number[]): void {
    if (!this.#open) return fds.forEach(closeFd);
    let message: Message<In>;
    try {
      message = decodeBytes(bytes, this.allowed);
    } catch (error) {
      fds.forEach(closeFd);
      this.#end(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.handlers.onMessage(message, fds);
  }

  #end(problem: Error | undefined): void {
    if (!this.#open) return;
    this.close();
    this.handlers.onEnd(problem);
  }
}
