/** Random numbers of the fuzzers: the same everywhere for the same seed. */

/** mulberry32: small and fast. */
export class Random {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = seed;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** 0 to `count` - 1. */
  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(from: readonly T[]): T {
    const chosen = from[this.below(from.length)];
    if (chosen === undefined) throw new Error('nothing to pick from');
    return chosen;
  }

  bytes(count: number): Buffer {
    const bytes = Buffer.allocUnsafe(count);
    for (let at = 0; at < count; at += 1) bytes[at] = this.below(256);
    return bytes;
  }
}

/** SEED of the environment, else one from the time: printed by whoever uses it, so that a finding can be repeated. */
export function seedFromEnvironment(): number {
  return Number(process.env['SEED'] ?? Date.now() % 1_000_000_000);
}

const SPICE = [
  '\r',
  '\n',
  '\0',
  ' ',
  '\t',
  ':',
  ';',
  ',',
  '-',
  '+',
  '\x0b',
  '\x7f',
  '\x85',
  '\x8d',
  '\x8a',
  '0',
  'f',
  '\r\n',
];

/** One to three small changes: a byte flipped, put in, taken out, a piece doubled. Latin-1 text. */
export function mutate(random: Random, text: string): string {
  let result = text;
  for (let n = 1 + random.below(3); n > 0; n -= 1) {
    const at = random.below(result.length + 1);
    const [before, after] = [result.slice(0, at), result.slice(at)];
    switch (random.below(5)) {
      case 0:
        result = before + String.fromCharCode(random.below(256)) + after.slice(1);
        break;
      case 1:
        result = before + random.pick(SPICE) + after;
        break;
      case 2:
        result = before + after.slice(1 + random.below(3));
        break;
      case 3:
        result = before + after.slice(0, random.below(20)) + after;
        break;
      default:
        result = before + random.pick(SPICE) + after.slice(1);
    }
  }
  return result;
}

/** `bytes` in pieces of random size; copies, since the gateway works in place. */
export function pieces(random: Random, bytes: Buffer): Buffer[] {
  const most = random.pick([1, 3, 40, 100_000]);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const take = 1 + random.below(most);
    parts.push(Buffer.from(bytes.subarray(at, at + take)));
    at += take;
  }
  return parts;
}
