/**
 * Output of app processes: bytes of stdout and stderr become lines of the log. Whatever a process writes, memory, log
 * rate and our own time are bounded: too much is dropped and counted, and only a flood that would cost others is held
 * back (a blocked write stops the app). Knows nothing of processes but their pid. OutputPump is made for each stream; OutputLog is shared by an app group.
 */
import type { Readable } from 'node:stream';
import type { Clock } from '../base/clock.js';
import type { Log } from '../base/log.js';

export type OutputStream = 'stdout' | 'stderr';

/** Where lines end up; FdSink has this shape. */
export interface OutputSink {
  write(level: 'notice', room: string, text: string): void;
  writeLine(line: string): void;
}

/** Longer lines are cut into a head that is kept and a count of what was not. */
export const MAX_LINE_BYTES = 8 * 1024;
const LINES_PER_SECOND = 1000;
const BYTES_PER_SECOND = 1024 * 1024;
/** Looking at output costs time of everybody: a group that writes more than this has to wait for the next second. */
const READ_PER_SECOND = 2 * 1024 * 1024;
/** Of one piece as it was read; a piece of nothing but line ends must not cost a millisecond for each hundred. */
const LINES_PER_PIECE = 1000;

/** Splits bytes into lines; never keeps more than one line of MAX_LINE_BYTES. */
export class LineSplitter {
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #cutBytes = 0;

  /** @param onSkipped hears of lines that were not looked at because there were too many of them */
  constructor(
    private readonly onLine: (line: string) => void,
    private readonly onSkipped: (lines: number) => void = () => undefined,
  ) {}

  push(bytes: Buffer): void {
    let start = 0;
    let lines = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, start)) {
      if (lines === LINES_PER_PIECE) {
        start = this.#skip(bytes, start);
        break;
      }
      this.#keep(bytes.subarray(start, at));
      this.#flush();
      lines += 1;
      start = at + 1;
    }
    this.#keep(bytes.subarray(start));
  }

  /** Gives out what came after the last line end. */
  end(): void {
    if (this.#keptBytes > 0) this.#flush();
  }

  /** Passes over all whole lines from `start` on; returns where the last, unfinished one begins. */
  #skip(bytes: Buffer, start: number): number {
    const end = bytes.lastIndexOf(10) + 1;
    let lines = 0;
    for (let at = start; at < end; at += 1) {
      if (bytes[at] === 10) lines += 1;
    }
    this.onSkipped(lines);
    return end;
  }

  #keep(piece: Buffer): void {
    const room = MAX_LINE_BYTES - this.#keptBytes;
    if (piece.length > room) this.#cutBytes += piece.length - room;
    if (room === 0 || piece.length === 0) return;
    // A copy, because a short piece must not keep the whole chunk alive.
    const kept = Buffer.from(piece.subarray(0, room));
    this.#kept.push(kept);
    this.#keptBytes += kept.length;
  }

  #flush(): void {
    const text = printable(Buffer.concat(this.#kept, this.#keptBytes).toString('utf8'));
    const cut = this.#cutBytes;
    this.#kept = [];
    this.#keptBytes = 0;
    this.#cutBytes = 0;
    this.onLine(cut === 0 ? text : `${text} … (${cut} bytes more)`);
  }
}

/** No line may steer the terminal of whoever reads the log. */
function printable(text: string): string {
  const line = text.endsWith('\r') ? text.slice(0, -1) : text;
  // eslint-disable-next-line no-control-regex -- control characters are the point
  return line.replace(/[\x00-\x08\x0a-\x1f\x7f-\x9f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}

/** The last lines of a process, for reports about its failure. */
export class LastLines {
  static readonly LINES = 50;
  static readonly CHARACTERS = 8 * 1024;
  readonly #lines: string[] = [];
  #characters = 0;

  add(line: string): void {
    this.#lines.push(line);
    this.#characters += line.length + 1;
    while (this.#lines.length > LastLines.LINES || this.#characters > LastLines.CHARACTERS) {
      const oldest = this.#lines.shift();
      if (oldest === undefined) return;
      this.#characters -= oldest.length + 1;
    }
  }

  text(): string {
    return this.#lines.join('\n');
  }
}

/** Writes the lines of one app group, as many as the rate allows. */
export class OutputLog {
  #window = { start: 0, lines: 0, bytes: 0, read: 0 };
  #dropped = 0;

  /** @param prefixed asked for each line, because a reload may change it */
  constructor(
    private readonly groupName: string,
    private readonly sink: OutputSink,
    private readonly log: Log,
    private readonly clock: Clock,
    private readonly prefixed: () => boolean,
  ) {}

  write(pid: number, stream: OutputStream, line: string): void {
    if (!this.#admit(line.length)) {
      this.#dropped += 1;
      return;
    }
    if (this.prefixed()) this.sink.write('notice', 'app', `App ${pid} ${stream}: ${line}`);
    else this.sink.writeLine(line);
  }

  skipped(lines: number): void {
    this.#dropped += lines;
  }

  /**
   * Counts bytes that were read.
   * @returns how many milliseconds nothing more should be read; 0 as long as the group keeps within its share
   */
  pauseAfter(bytes: number): number {
    this.#turnWindow();
    this.#window.read += bytes;
    if (this.#window.read <= READ_PER_SECOND) return 0;
    return Math.max(1, this.#window.start + 1000 - this.clock.now());
  }

  #turnWindow(): void {
    const now = this.clock.now();
    if (now - this.#window.start < 1000) return;
    this.reportDropped();
    this.#window = { start: now, lines: 0, bytes: 0, read: 0 };
  }

  #admit(bytes: number): boolean {
    this.#turnWindow();
    if (this.#window.lines >= LINES_PER_SECOND || this.#window.bytes >= BYTES_PER_SECOND) return false;
    this.#window.lines += 1;
    this.#window.bytes += bytes;
    return true;
  }

  /** Says how much was lost since the last time; called with the next line, and when a process has ended. */
  reportDropped(): void {
    const lines = this.#dropped;
    this.#dropped = 0;
    if (lines > 0) this.log.report('PSG6010', { app: this.groupName, lines });
  }
}

/** One stream of one process: reads until the end and hands its lines on. Owns the stream. */
export class OutputPump {
  readonly ended: Promise<void>;
  readonly #splitter: LineSplitter;

  constructor(
    private readonly stream: Readable,
    private readonly output: OutputLog,
    private readonly clock: Clock,
    onLine: (line: string) => void,
  ) {
    this.#splitter = new LineSplitter(onLine, (lines) => output.skipped(lines));
    this.ended = new Promise((resolve) => stream.once('close', resolve));
    stream.on('data', (bytes: Buffer) => this.#read(bytes));
    stream.on('error', () => undefined); // 'close' follows
    stream.once('close', () => this.#splitter.end());
  }

  close(): void {
    this.stream.destroy();
  }

  #read(bytes: Buffer): void {
    this.#splitter.push(bytes);
    const pauseMs = this.output.pauseAfter(bytes.length);
    if (pauseMs === 0) return;
    this.stream.pause();
    this.clock.setTimeout(() => this.stream.resume(), pauseMs);
  }
}
