/**
 * The core's end of the control connection to a loader: lines of JSON from a process that may be hostile. Sizes and
 * rates are bounded before anything is parsed; every field is checked; what is unknown is ignored. Does not know what
 * the messages mean. Owns the stream. Used by supervised-process.ts.
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock.js';

export type AppMessage =
  | { readonly type: 'hello'; readonly node: string }
  | { readonly type: 'step'; readonly step: 'loading' | 'listening' }
  | { readonly type: 'ready'; readonly concurrency: number }
  | { readonly type: 'report'; readonly elu?: number; readonly heapUsed?: number; readonly rss?: number }
  | { readonly type: 'failed'; readonly message: string; readonly stack: string }
  | { readonly type: 'detected'; readonly startupFile: string }
  /** The answer to the question of a core that adopts the process. */
  | { readonly type: 'state'; readonly state: 'starting' | 'ready' | 'stopping' }
  /** A hint why an app may never become ready. */
  | { readonly type: 'note'; readonly message: string };

export type CoreMessage = { readonly type: 'shutdown' } | { readonly type: 'state' };

export interface ControlEvents {
  onMessage(message: AppMessage): void;
  /** The process broke a bound; the connection is closed. */
  onViolation(reason: string): void;
}

const MAX_LINE = 64 * 1024;
/** Far above what a loader sends; a process that exceeds it wants our time. */
const MAX_BYTES_PER_SECOND = 256 * 1024;
const MAX_TEXT = 16 * 1024;

export class ControlConnection {
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #window = { start: 0, bytes: 0 };
  #open = true;

  constructor(
    private readonly stream: Duplex,
    private readonly clock: Clock,
    private readonly events: ControlEvents,
  ) {
    stream.on('data', (bytes: Buffer) => this.#receive(bytes));
    stream.on('error', () => undefined); // 'close' follows
    stream.on('close', () => (this.#open = false));
  }

  /** False when the message cannot reach the process any more. */
  send(message: CoreMessage): boolean {
    if (!this.#open || !this.stream.writable) return false;
    this.stream.write(`${JSON.stringify(message)}\n`);
    return true;
  }

  close(): void {
    this.#open = false;
    this.#pending = [];
    this.stream.destroy();
  }

  #receive(bytes: Buffer): void {
    if (this.#exceedsRate(bytes.length)) return this.#violate('too many bytes in a second');
    let rest = bytes;
    for (let at = rest.indexOf(10); at >= 0 && this.#open; at = rest.indexOf(10)) {
      this.#line(Buffer.concat([...this.#pending, rest.subarray(0, at)]));
      this.#pending = [];
      this.#pendingBytes = 0;
      rest = rest.subarray(at + 1);
    }
    if (!this.#open || rest.length === 0) return;
    this.#pendingBytes += rest.length;
    if (this.#pendingBytes > MAX_LINE) return this.#violate('line too long');
    this.#pending.push(rest);
  }

  #exceedsRate(bytes: number): boolean {
    const now = this.clock.now();
    if (now - this.#window.start >= 1000) this.#window = { start: now, bytes: 0 };
    this.#window.bytes += bytes;
    return this.#window.bytes > MAX_BYTES_PER_SECOND;
  }

  #line(bytes: Buffer): void {
    if (bytes.length > MAX_LINE) return this.#violate('line too long');
    const message = parseAppMessage(bytes.toString('utf8'));
    if (message !== undefined) this.events.onMessage(message);
  }

  #violate(reason: string): void {
    this.close();
    this.events.onViolation(reason);
  }
}

/** The message in a line, or undefined for anything that is none. */
export function parseAppMessage(line: string): AppMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  return typedMessage(value as Readonly<Record<string, unknown>>);
}

function typedMessage(value: Readonly<Record<string, unknown>>): AppMessage | undefined {
  switch (value['type']) {
    case 'hello':
      return { type: 'hello', node: text(value['node']) };
    case 'step': {
      const step = value['step'];
      return step === 'loading' || step === 'listening' ? { type: 'step', step } : undefined;
    }
    case 'ready':
      return { type: 'ready', concurrency: Math.floor(bounded(value['concurrency'], 1_000_000) ?? 0) };
    case 'report':
      return {
        type: 'report',
        ...optional('elu', bounded(value['elu'], 1)),
        ...optional('heapUsed', bounded(value['heapUsed'], Number.MAX_SAFE_INTEGER)),
        ...optional('rss', bounded(value['rss'], Number.MAX_SAFE_INTEGER)),
      };
    case 'failed':
      return { type: 'failed', message: text(value['message']), stack: text(value['stack']) };
    case 'detected':
      return { type: 'detected', startupFile: text(value['startupFile']) };
    case 'state': {
      const state = value['state'];
      return state === 'starting' || state === 'ready' || state === 'stopping'
        ? { type: 'state', state }
        : undefined;
    }
    case 'note':
      return { type: 'note', message: text(value['message']) };
    default:
      return undefined;
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, MAX_TEXT) : '';
}

/** A finite number from 0 to `max`; anything else does not count. */
function bounded(value: unknown, max: number): number | undefined {
  return typeof value === 'number' && value >= 0 && value <= max ? value : undefined;
}

function optional<Name extends string>(
  name: Name,
  value: number | undefined,
): { readonly [N in Name]?: number } {
  return (value === undefined ? {} : { [name]: value }) as { readonly [N in Name]?: number };
}
