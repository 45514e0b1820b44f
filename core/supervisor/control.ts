/**
 * The supervisor's end of the control socket to Apache's parent (descriptor 3): configuration comes in, the news that
 * the core serves goes out. Its end of file means that Apache has gone.
 */
import { errorText } from '../base/errors.js';
import { closeFd, receiveRecords, sendRecord, type Receiver } from '../native.js';
import { decodeMessage, encodeMessage, FROM_APACHE, type FromApache, type ToApache } from './messages.js';
import { CONTROL_LIMIT, RecordAssembler } from './records.js';

const PIECE = 64 * 1024;

export interface ControlHandlers {
  /** The handler owns `fds`. */
  onMessage(message: FromApache, fds: number[]): void;
  /** Apache has gone, or spoke nonsense. */
  onEnd(problem: Error | undefined): void;
}

export class ControlSocket {
  readonly #assembler = new RecordAssembler(CONTROL_LIMIT);
  readonly #receiver: Receiver;
  #open = true;

  constructor(
    private readonly fd: number,
    private readonly handlers: ControlHandlers,
  ) {
    this.#receiver = receiveRecords(
      fd,
      PIECE,
      (piece, fds) => this.#receive(piece, fds),
      (errno) => this.#end(errno === 0 ? undefined : new Error(`control socket: errno ${errno}`)),
    );
  }

  /** Small and rare: what does not fit at once is lost together with its reader. */
  send(message: ToApache): void {
    if (!this.#open) return;
    try {
      sendRecord(this.fd, encodeMessage(message));
    } catch (error) {
      this.#end(new Error(errorText(error)));
    }
  }

  #receive(piece: Buffer, fds: number[]): void {
    if (!this.#open) return fds.forEach(closeFd);
    try {
      for (const { record, fds: owned } of this.#assembler.push(piece, fds)) {
        this.handlers.onMessage(decodeMessage(record, FROM_APACHE), owned);
      }
    } catch (error) {
      this.#end(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #end(problem: Error | undefined): void {
    if (!this.#open) return;
    this.#open = false;
    this.#receiver.close();
    this.#assembler.abandon().forEach(closeFd);
    this.handlers.onEnd(problem);
  }
}
