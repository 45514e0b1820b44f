/**
 * "Mutate first, notify last": everything that changes the pool runs inside a turn; what others are to be told is
 * put aside and told when the books are complete. Those who are told may come back with new requests at once.
 */

export class Turn {
  #depth = 0;
  #telling = false;
  readonly #news: (() => void)[] = [];

  /** @param complete finishes a change (what follows from it, checks in tests) before anybody hears of it */
  constructor(private readonly complete: () => void) {}

  /** Runs a change; a change inside a change belongs to the outer one. */
  run<T>(change: () => T): T {
    this.#depth += 1;
    let result: T;
    try {
      result = change();
      if (this.#depth === 1) this.complete();
    } finally {
      this.#depth -= 1;
    }
    if (this.#depth === 0 && !this.#telling) this.#tellAll();
    return result;
  }

  /** Tells at the end of the turn, in the order of the calls. */
  tell(news: () => void): void {
    this.#news.push(news);
  }

  #tellAll(): void {
    this.#telling = true;
    try {
      for (let news = this.#news.shift(); news !== undefined; news = this.#news.shift()) news();
    } finally {
      this.#telling = false;
    }
  }
}
