/** Error pages of apps in a gateway thread: asks the main thread, which alone can have files opened. */
import type { AppConfig } from '../config/app-config.js';
import type { FromThread, ToThread } from './messages.js';

export class ThreadPages {
  readonly #waiting = new Map<number, (page: Buffer | undefined) => void>();
  #lastTicket = 0;

  constructor(private readonly post: (message: FromThread) => void) {}

  read(app: AppConfig): Promise<Buffer | undefined> {
    this.#lastTicket += 1;
    const ticket = this.#lastTicket;
    this.post({ kind: 'page-wanted', ticket, app });
    return new Promise((resolve) => this.#waiting.set(ticket, resolve));
  }

  handle({ ticket, page }: ToThread & { kind: 'page' }): void {
    const resolve = this.#waiting.get(ticket);
    this.#waiting.delete(ticket);
    // The copy that a message makes of a Buffer is a plain array of bytes.
    resolve?.(page === undefined ? undefined : Buffer.from(page));
  }
}
