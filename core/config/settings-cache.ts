/**
 * One frozen RequestConfig for each distinct settings block, so that a block is decoded once and not for each
 * request. Bounded: the block that came in first goes first and is simply decoded again when it is needed.
 */
import { AppConfigs, type RequestConfig } from './app-config.js';
import { BoundedMap } from './bounded-map.js';
import { decodeSettingsBlock } from './settings-block.js';

export class SettingsCache {
  readonly #known: BoundedMap<RequestConfig>;
  readonly #apps: AppConfigs;

  constructor(limit: number = 4096) {
    this.#known = new BoundedMap(limit);
    this.#apps = new AppConfigs(limit);
  }

  get size(): number {
    return this.#known.size;
  }

  /**
   * A broken block is not remembered.
   * @throws PassengerError PSG2001, PSG2002
   */
  get(block: Buffer): RequestConfig {
    // latin1 keeps the bytes one to one.
    const key = block.toString('latin1');
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const config = decodeSettingsBlock(block, this.#apps);
    this.#known.set(key, config);
    return config;
  }
}
