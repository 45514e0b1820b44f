/**
 * Output of app processes: bytes of stdout and stderr become lines of the log. Whatever a process writes, memory and
 * log rate are bounded; too much is dropped and counted, never held back (a blocked write would freeze the app). Knows
 * nothing of processes but their pid. OutputPump is made for each stream; OutputLog is shared by an app group.
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

/** Splits bytes into lines; never keeps more than one line of MAX_LINE_BYTES. */
export class LineSplitter {
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #cutBytes = 0;

  constructor(private readonly onLine: (line: string) => void) {}

  push(bytes: Buffer): void {
    let start = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, start)) {
      this.#keep(bytes.subarray(start, at));
      this.#flush();
      start = at + 1;
    }
    this.#keep(bytes.subarray(start));
  }

  /** Gives out what came after the last line end. */
  end(): void {
    if (this.#keptBytes > 0) this.#flush();
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
  #window = { start: 0, lines: 0, bytes: 0 };
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

  #admit(bytes: number): boolean {
    const now = this.clock.now();
    if (now - this.#window.start >= 1000) {
      this.reportDropped();
      this.#window = { start: now, lines: 0, bytes: 0 };
    }
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
    onLine: (line: string) => void,
  ) {
    this.#splitter = new LineSplitter(onLine);
    this.ended = new Promise((resolve) => stream.once('close', resolve));
    stream.on('data', (bytes: Buffer) => this.#splitter.push(bytes));
    stream.on('error', () => undefined); // 'close' follows
    stream.once('close', () => this.#splitter.end());
  }

  close(): void {
    this.stream.destroy();
  }
}
