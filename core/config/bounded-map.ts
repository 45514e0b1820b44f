/**
 * A map that forgets: bounded in entries and in characters of all keys, so that neither many nor large
 * configurations of one tenant (.htaccess) take the memory of the core. Values are as large as their keys, more or less.
 */

const MAX_KEY_CHARACTERS = 16 * 1024 * 1024;

export class BoundedMap<V> {
  /** In the order of arrival; the first one goes first. */
  readonly #entries = new Map<string, V>();
  #characters = 0;

  constructor(
    private readonly maxEntries: number,
    private readonly maxCharacters: number = MAX_KEY_CHARACTERS,
  ) {}

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): V | undefined {
    return this.#entries.get(key);
  }

  /** Adds or replaces an entry as the newest; the newest one always stays, whatever its size. */
  set(key: string, value: V): void {
    this.#delete(key);
    this.#entries.set(key, value);
    this.#characters += key.length;
    for (const oldest of this.#entries.keys()) {
      const fits = this.#entries.size <= this.maxEntries && this.#characters <= this.maxCharacters;
      if (fits || oldest === key) return;
      this.#delete(oldest);
    }
  }

  #delete(key: string): void {
    if (this.#entries.delete(key)) this.#characters -= key.length;
  }
}
