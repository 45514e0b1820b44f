/**
 * Output of app processes: bytes of stdout and stderr become lines. Whatever a process writes, memory and our own time
 * are bounded, and only a flood that would cost others is held back (a blocked write stops the app). One OutputPump is
 * made for each stream. Where lines go, and how many, is decided in output-log.ts.
 */
import type { Readable } from 'node:stream';
import type { Clock } from '../base/clock.js';

/** Longer lines are cut into a head that is kept and a count of what was not. */
export const MAX_LINE_BYTES = 64 * 1024;
/** Of a piece with more lines than are wanted the last ones are looked at, too: they may be the last of the process. */
const LAST_OF_PIECE = 50;

/** Whoever takes the lines of a stream. */
export interface LineListener {
  /** How many lines of the next piece may be written anyway; the rest need not be put together. */
  wanted(): number;
  onLine(line: string): void;
  /** Lines that were not looked at because there were too many of them. */
  onSkipped(lines: number): void;
}

/** Splits bytes into lines; never keeps more than one line of MAX_LINE_BYTES. */
export class LineSplitter {
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #cutBytes = 0;

  constructor(private readonly listener: LineListener) {}

  push(bytes: Buffer): void {
    // One at least: it ends what was kept of the piece before.
    const wanted = Math.max(1, this.listener.wanted());
    let start = 0;
    let lines = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, start)) {
      if (lines === wanted) {
        start = this.#skip(bytes, start);
        at = bytes.indexOf(10, start);
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

  /** Passes over whole lines from `start` on but for the last few; returns where the first of these begins. */
  #skip(bytes: Buffer, start: number): number {
    let end = bytes.lastIndexOf(10) + 1;
    for (let kept = 0; kept < LAST_OF_PIECE && end > start; kept += 1) {
      end = Math.max(start, bytes.lastIndexOf(10, end - 2) + 1);
    }
    let lines = 0;
    for (let at = start; at < end; at += 1) {
      if (bytes[at] === 10) lines += 1;
    }
    if (lines > 0) this.listener.onSkipped(lines);
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
    const whole = Buffer.concat(this.#kept, this.#keptBytes);
    const end = this.#cutBytes === 0 ? whole.length : wholeCharacters(whole);
    const text = printable(whole.toString('utf8', 0, end));
    const cut = this.#cutBytes + whole.length - end;
    this.#kept = [];
    this.#keptBytes = 0;
    this.#cutBytes = 0;
    this.listener.onLine(cut === 0 ? text : `${text} … (${cut} bytes more)`);
  }
}

/** How many bytes are left when a character that was cut off at the end is taken away. */
function wholeCharacters(bytes: Buffer): number {
  let first = bytes.length - 1;
  while (first > bytes.length - 4 && first > 0 && ((bytes[first] ?? 0) & 0xc0) === 0x80) first -= 1;
  const lead = bytes[first] ?? 0;
  const needed = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  return bytes.length - first < needed ? first : bytes.length;
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
  /** Of one line. */
  static readonly LINE = 2 * 1024;
  readonly #lines: string[] = [];
  #characters = 0;

  add(whole: string): void {
    const line = whole.length > LastLines.LINE ? `${whole.slice(0, LastLines.LINE)} …` : whole;
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

/** What a pump needs to know of the group's share. */
interface ReadShare {
  /** @returns how many milliseconds nothing more should be read */
  pauseAfter(bytes: number): number;
}

/** One stream of one process: reads until the end and hands its lines on. Owns the stream. */
export class OutputPump {
  readonly ended: Promise<void>;
  readonly #splitter: LineSplitter;

  constructor(
    private readonly stream: Readable,
    private readonly share: ReadShare,
    private readonly clock: Clock,
    listener: LineListener,
  ) {
    this.#splitter = new LineSplitter(listener);
    this.ended = new Promise((resolve) => stream.once('close', resolve));
    stream.on('data', (bytes: Buffer) => this.#read(bytes));
    stream.on('error', () => undefined); // 'close' follows
    stream.once('close', () => this.#splitter.end());
  }

  /** The process has ended: what is left in the pipe is not much, and says why. */
  hurry(): void {
    this.stream.resume();
  }

  close(): void {
    this.stream.destroy();
  }

  #read(bytes: Buffer): void {
    this.#splitter.push(bytes);
    const pauseMs = this.share.pauseAfter(bytes.length);
    if (pauseMs === 0) return;
    this.stream.pause();
    this.clock.setTimeout(() => this.stream.resume(), pauseMs);
  }
}
