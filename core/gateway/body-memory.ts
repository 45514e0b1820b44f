/**
 * An account of the memory that the request bodies of one gateway take together, beyond the little that each may have
 * anyway. Who took gives back. Body-buffer.ts asks; a refusal means the file. Nothing is allocated here.
 */

/** For the whole core, where the machine is large enough. */
const MOST_BYTES = 33_554_432;
/** The other 63 parts are for apps and Apache. */
const PART_OF_MACHINE = 64;

export class BodyMemory {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Bytes that may still be taken. */
  get left(): number {
    return this.#left;
  }

  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

/**
 * @param available memory of the machine, or of the container, in bytes
 * @param gateways that share it, one for each thread
 * @returns bytes for one gateway
 */
export function bodyMemoryShare(available: number, gateways: number): number {
  return Math.floor(Math.min(MOST_BYTES, available / PART_OF_MACHINE) / gateways);
}
