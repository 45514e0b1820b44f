/**
 * What a gateway thread shows of itself without being asked: that it is alive, and its counters. Shared memory,
 * written by the thread a few times a second, read by the main thread when somebody looks.
 */
import { GatewayCounters, type CounterName } from '../gateway/gateway.js';

export const BEAT_MS = 250;

const NAMES = Object.keys(new GatewayCounters()) as CounterName[];

export class Pulse {
  /** The number of beats, then the counters. */
  readonly #numbers: Float64Array;

  constructor(readonly memory: SharedArrayBuffer = new SharedArrayBuffer(8 * (1 + NAMES.length))) {
    this.#numbers = new Float64Array(memory);
  }

  beat(counters: GatewayCounters): void {
    NAMES.forEach((name, index) => {
      this.#numbers[index + 1] = counters[name];
    });
    this.#numbers[0] = this.beats + 1;
  }

  get beats(): number {
    return this.#numbers[0] ?? 0;
  }

  counters(): GatewayCounters {
    const counters = new GatewayCounters();
    NAMES.forEach((name, index) => {
      counters[name] = this.#numbers[index + 1] ?? 0;
    });
    return counters;
  }
}
