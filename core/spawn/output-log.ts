/**
 * The lines of one app group on their way to a log: its own file (PassengerAppLogFile) or the server's. As many as the
 * rate allows; of what is too much the last lines of each process are kept and follow behind the number of those that
 * were dropped, so that what explains the end of a process is never lost. Made by GroupOutputs, fed by OutputPump.
 */
import { apacheTime } from '../base/fd-sink.js';
import type { Clock, ClockTimer } from '../base/clock.js';
import type { Log } from '../base/log.js';
import type { LogFile } from './log-file.js';

export type OutputStream = 'stdout' | 'stderr';

/** Where lines end up without a file of the app's own; FdSink has this shape. */
export interface OutputSink {
  write(level: 'notice', room: string, text: string): void;
  writeLine(line: string): void;
}

/** Of a group, in the long run and at once. */
export const RATE = {
  linesPerSecond: 1000,
  lineBurst: 5000,
  bytesPerSecond: 1024 * 1024,
  byteBurst: 4 * 1024 * 1024,
} as const;
/** Looking at output costs time of everybody: a group that writes more than this has to wait for the next second. */
const READ_PER_SECOND = 2 * 1024 * 1024;
/** So long lines are held back once the rate is exceeded. */
const HOLD_MS = 1000;
/** Of the lines that are held back, of each process. */
export const KEPT_LINES = 50;
const KEPT_CHARACTERS = 64 * 1024;
/** With a file of its own an app's losses are told in the server's log once in so long. */
const REPORT_MS = 10_000;

interface HeldLine {
  readonly stream: OutputStream;
  readonly line: string;
}

/** What a process has written beyond the rate: the last lines, and the number of those before. */
class Held {
  readonly lines: HeldLine[] = [];
  dropped = 0;
  #characters = 0;

  add(line: HeldLine): void {
    this.lines.push(line);
    this.#characters += line.line.length;
    while (this.lines.length > KEPT_LINES || (this.lines.length > 1 && this.#characters > KEPT_CHARACTERS)) {
      this.#characters -= this.lines.shift()?.line.length ?? 0;
      this.dropped += 1;
    }
  }
}

/** Allows so much at once, and so much a second for ever. */
class Allowance {
  #left: number;
  #since: number;

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    now: number,
  ) {
    this.#left = burst;
    this.#since = now;
  }

  /** Whole units that are left. */
  left(now: number): number {
    this.#left = Math.min(this.burst, this.#left + ((now - this.#since) * this.perSecond) / 1000);
    this.#since = now;
    return Math.max(0, Math.floor(this.#left));
  }

  take(amount: number): void {
    this.#left -= amount;
  }
}

export interface OutputLogOptions {
  readonly groupName: string;
  readonly sink: OutputSink;
  readonly log: Log;
  readonly clock: Clock;
  /** Asked for each line, because a reload may change it. */
  readonly prefixed: () => boolean;
}

export class OutputLog {
  /** The app's own file, if it has one; GroupOutputs owns it. */
  file: LogFile | undefined;
  readonly #lines: Allowance;
  readonly #bytes: Allowance;
  readonly #held = new Map<number, Held>();
  #timer: ClockTimer | undefined;
  #read = { since: 0, bytes: 0 };
  #untold = 0;
  #toldAt = -REPORT_MS;

  constructor(private readonly options: OutputLogOptions) {
    const now = options.clock.now();
    this.#lines = new Allowance(RATE.linesPerSecond, RATE.lineBurst, now);
    this.#bytes = new Allowance(RATE.bytesPerSecond, RATE.byteBurst, now);
  }

  /** How many lines can be written now. */
  get room(): number {
    if (this.#timer !== undefined) return 0;
    return this.#lines.left(this.options.clock.now());
  }

  write(pid: number, stream: OutputStream, line: string): void {
    // Once lines are held back, all later ones are, too: their order is kept.
    if (this.#timer === undefined && this.#admit()) this.#put(pid, stream, line);
    else this.#hold(pid).add({ stream, line });
  }

  /** Lines of a process that were not even looked at. */
  skipped(pid: number, lines: number): void {
    this.#hold(pid).dropped += lines;
  }

  /** A sentence of our own about the app, for whoever reads the app's file alone; without one it stands elsewhere. */
  remark(text: string): void {
    const { file, options } = this;
    if (file === undefined) return;
    for (const line of text.split('\n')) {
      // The server's log has it already.
      file.write({ text: `${stamp(options.clock)} Passenger: ${line}`, toServer: () => undefined });
    }
  }

  /**
   * Counts bytes that were read.
   * @returns how many milliseconds nothing more should be read; 0 as long as the group keeps within its share
   */
  pauseAfter(bytes: number): number {
    const now = this.options.clock.now();
    if (now - this.#read.since >= 1000) this.#read = { since: now, bytes: 0 };
    this.#read.bytes += bytes;
    return this.#read.bytes <= READ_PER_SECOND ? 0 : Math.max(1, this.#read.since + 1000 - now);
  }

  /** The last line of the process has come: nothing of it is held any longer. */
  processEnded(pid: number): void {
    this.#release(pid);
    if (this.#untold > 0) this.#tell();
  }

  #admit(): boolean {
    const now = this.options.clock.now();
    return this.#lines.left(now) > 0 && this.#bytes.left(now) > 0;
  }

  #hold(pid: number): Held {
    const held = this.#held.get(pid) ?? new Held();
    this.#held.set(pid, held);
    this.#timer ??= this.options.clock.setTimeout(() => this.#releaseAll(), HOLD_MS);
    return held;
  }

  #releaseAll(): void {
    this.#timer = undefined;
    for (const pid of [...this.#held.keys()]) this.#release(pid);
  }

  #release(pid: number): void {
    const held = this.#held.get(pid);
    if (held === undefined) return;
    this.#held.delete(pid);
    if (held.dropped > 0) this.#dropped(pid, held.dropped);
    for (const { stream, line } of held.lines) this.#put(pid, stream, line);
  }

  #dropped(pid: number, lines: number): void {
    this.#untold += lines;
    this.remark(`${lines} lines of process ${pid} dropped, it writes too many`);
    const now = this.options.clock.now();
    // In the server's log the number stands where the lines would have stood.
    if (this.file === undefined || now - this.#toldAt >= REPORT_MS) this.#tell();
  }

  #tell(): void {
    const lines = this.#untold;
    this.#untold = 0;
    this.#toldAt = this.options.clock.now();
    this.options.log.report('PSG6010', { app: this.options.groupName, lines });
  }

  #put(pid: number, stream: OutputStream, line: string): void {
    this.#lines.take(1);
    this.#bytes.take(line.length);
    const { prefixed, clock } = this.options;
    const named = prefixed() ? `App ${pid} ${stream}: ${line}` : undefined;
    if (this.file === undefined) this.#toServer(named, line);
    else {
      const text = named === undefined ? line : `${stamp(clock)} ${named}`;
      this.file.write({ text, toServer: () => this.#toServer(named, line) });
    }
  }

  #toServer(named: string | undefined, line: string): void {
    if (named === undefined) this.options.sink.writeLine(line);
    else this.options.sink.write('notice', 'app', named);
  }
}

function stamp(clock: Clock): string {
  return `[${apacheTime(clock.wall())}]`;
}
