/**
 * Where the lines of supervisor and core go: descriptor 2 (Apache's error log, replaced at a reload) or the system's
 * log. Also the descriptors 1 and 2 that a new core inherits. Each of the two processes has one ErrorLog. A thread of the
 * addon does the writing, so that a log that takes nothing holds up nobody; log-bound.ts says what is dropped then.
 */
import { apacheLine } from '../base/fd-sink.js';
import { systemClock, type Clock, type ClockTimer } from '../base/clock.js';
import { Log, LogThreshold, type Level, type LogSink } from '../base/log.js';
import { closeFd, duplicateTo, startLogWriter, type LogWriter, type LogWriterLine } from '../native.js';
import { LogBound } from './log-bound.js';

const PRIORITY: Readonly<Record<Level, number>> = {
  error: 3,
  warn: 4,
  notice: 5,
  info: 6,
  debug: 7,
  trace: 7,
};
const FACILITIES: Readonly<Record<string, number>> = {
  kern: 0,
  user: 1,
  mail: 2,
  daemon: 3,
  auth: 4,
  syslog: 5,
  lpr: 6,
  news: 7,
  uucp: 8,
  cron: 9,
  authpriv: 10,
  ftp: 11,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
};
/** httpd's own default. */
const DEFAULT_FACILITY = 23;

/** Descriptor 2 is the log as long as it is no syslog. */
const LOG_FD = 2;
/** What was logged before a change of the log goes to the old one, if that takes it at once. */
const CHANGE_MS = 20;
const LOOK_MS = 1000;
/** What waits when a process ends gets so long; a log that takes lines needs a fraction of it. */
export const LAST_LINES_MS = 1000;

/** How a line looks there. */
interface Shape {
  readonly fd: number;
  line(level: Level, room: string, text: string): string;
  /** Of a line that is finished. */
  plain(text: string): string;
  priority(level: Level): number;
}

const FD_SHAPE: Shape = {
  fd: LOG_FD,
  line: (level, room, text) => `${apacheLine(new Date(), level, room, text)}\n`,
  plain: (text) => `${text}\n`,
  priority: (level) => PRIORITY[level],
};

function syslogShape(facility: number, tag: string): Shape {
  const name = `${tag}[${process.pid}]: `;
  return {
    fd: -1,
    line: (level, room, text) => `${name}[passenger_${room}:${level}] ${text}`,
    plain: (text) => name + text,
    priority: (level) => facility * 8 + PRIORITY[level],
  };
}

function chooseShape(kind: string): Shape {
  const [type, facility, tag] = kind.split(':');
  if (type !== 'syslog') return FD_SHAPE;
  return syslogShape(FACILITIES[facility ?? ''] ?? DEFAULT_FACILITY, tag ?? 'httpd');
}

/** A sink that can change its target; loggers keep it. Takes finished lines (of apps), too. */
export class ErrorLog implements LogSink {
  #shape = FD_SHAPE;
  #writer: LogWriter;
  readonly #bound = new LogBound();
  readonly #losses: Log;
  #timer: ClockTimer | undefined;

  /**
   * @param room whose process this is, for messages about the log itself
   * @param open makes the thread that writes; it duplicates the descriptor
   */
  constructor(
    room: string,
    private readonly open: (fd: number) => LogWriter = startLogWriter,
    private readonly clock: Clock = systemClock,
  ) {
    this.#writer = open(LOG_FD);
    const sink = {
      write: (level: Level, from: string, text: string): void =>
        this.#push(level, this.#shape.line(level, from, text)),
    };
    this.#losses = new Log(room, sink, new LogThreshold());
  }

  write(level: Level, room: string, text: string): void {
    if (this.#admits(level)) this.#push(level, this.#shape.line(level, room, text));
  }

  /** A finished line, as it is. */
  writeLine(line: string, level: Level = 'notice'): void {
    if (this.#admits(level)) this.#push(level, this.#shape.plain(line));
  }

  /** Lines that have been lost before they came here. */
  lost(lines: number): void {
    this.#bound.add(lines);
    this.#tellLosses();
    if (this.#bound.dropped > 0) this.#watch();
  }

  /** Takes the error log of a CONFIG and owns its descriptors. */
  redirect(kind: string, fds: readonly number[]): void {
    const [log] = fds;
    if (log !== undefined) {
      duplicateTo(log, 1);
      duplicateTo(log, LOG_FD);
    }
    fds.forEach(closeFd);
    this.#shape = chooseShape(kind);
    this.#writer.flush(CHANGE_MS);
    const rest = this.#writer.stop();
    this.#writer = this.open(this.#shape.fd);
    const { fd } = this.#shape;
    for (const { priority, text } of rest)
      this.#writer.push(priority, fd < 0 || text.endsWith('\n') ? text : `${text}\n`);
  }

  /**
   * The process ends: what waits gets so long.
   * @returns the lines that did not get out
   */
  finish(limitMs: number): LogWriterLine[] {
    this.#tellLosses(0);
    this.#writer.flush(limitMs);
    return this.#writer.stop();
  }

  #admits(level: Level): boolean {
    this.#tellLosses();
    const admitted = this.#bound.admits(level, this.#writer.waiting());
    if (!admitted) this.#watch();
    return admitted;
  }

  #push(level: Level, line: string): void {
    this.#writer.push(this.#shape.priority(level), line);
  }

  /** Before the next line, so that the number stands where the lines would have stood. */
  #tellLosses(waiting = this.#writer.waiting()): void {
    const lines = this.#bound.tell(waiting);
    if (lines > 0) this.#losses.report('PSG0002', { lines });
  }

  /** A next line may never come. */
  #watch(): void {
    if (this.#timer !== undefined) return;
    this.#timer = this.clock.setTimeout(() => {
      this.#timer = undefined;
      this.#tellLosses();
      if (this.#bound.dropped > 0) this.#watch();
    }, LOOK_MS);
  }
}
