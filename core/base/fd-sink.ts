/**
 * A log sink on a descriptor, in the shape of Apache's own error log. Writes are synchronous: only for the first words
 * of a process, before the addon is there; everything later goes through ErrorLog (supervisor/logs.ts), which
 * never waits for its reader.
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

/** A line of our own, without its end. */
export function apacheLine(date: Date, level: Level, room: string, text: string): string {
  return `[${apacheTime(date)}] [passenger_${room}:${level}] [pid ${process.pid}] ${text}`;
}

export class FdSink implements LogSink {
  constructor(private readonly fd: number) {}

  write(level: Level, room: string, text: string): void {
    this.writeLine(apacheLine(new Date(), level, room, text));
  }

  /** Writes a finished line as it is. */
  writeLine(line: string): void {
    try {
      writeSync(this.fd, `${line}\n`);
    } catch {
      // EAGAIN, ENOSPC, EPIPE: the log is not worth the process.
    }
  }
}
