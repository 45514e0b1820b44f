/**
 * A log sink on a descriptor (the error log of Apache, or a terminal), in the shape of Apache's own error log.
 * Writes are synchronous and small; a full pipe or disk loses the line and counts it instead of blocking for ever
 * or failing a request.
 */
import { writeSync } from 'node:fs';
import type { Level, LogSink } from './log.js';

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

const two = (value: number): string => String(value).padStart(2, '0');

/** The time stamp of httpd's default ErrorLogFormat (`%{u}t`), with milliseconds padded to microseconds. */
export function apacheTime(date: Date): string {
  const day = `${DAYS[date.getDay()]} ${MONTHS[date.getMonth()]} ${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day} ${time}.${String(date.getMilliseconds()).padStart(3, '0')}000 ${date.getFullYear()}`;
}

export class FdSink implements LogSink {
  #lost = 0;

  constructor(
    public fd: number,
    private readonly wall: () => Date = () => new Date(),
  ) {}

  /** Lines that could not be written so far. */
  get lost(): number {
    return this.#lost;
  }

  write(level: Level, room: string, text: string): void {
    this.writeLine(`[${apacheTime(this.wall())}] [passenger_${room}:${level}] [pid ${process.pid}] ${text}`);
  }

  /** Writes a finished line as it is. */
  writeLine(line: string): void {
    try {
      writeSync(this.fd, `${line}\n`);
    } catch {
      // EAGAIN, ENOSPC, EPIPE: the log is not worth a request.
      this.#lost += 1;
    }
  }
}
