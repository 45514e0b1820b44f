/**
 * Where the lines of supervisor and core go: descriptor 2 (Apache's error log, replaced at a reload) or the system's
 * log. Also the descriptors 1 and 2 that a new core inherits. Each of the two processes has one ErrorLog.
 */
import { FdSink } from '../base/fd-sink.js';
import type { Level, LogSink } from '../base/log.js';
import { closeFd, duplicateTo, syslog } from '../native.js';

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

/** A sink that also takes finished lines (of apps). */
interface LineSink extends LogSink {
  writeLine(line: string): void;
}

class SyslogSink implements LineSink {
  constructor(
    private readonly facility: number,
    private readonly tag: string,
  ) {}

  write(level: Level, room: string, text: string): void {
    syslog(PRIORITY[level], this.facility * 8, this.tag, `[passenger_${room}:${level}] ${text}`);
  }

  writeLine(line: string): void {
    syslog(PRIORITY.notice, this.facility * 8, this.tag, line);
  }
}

function chooseSink(kind: string): LineSink {
  const [type, facility, tag] = kind.split(':');
  if (type !== 'syslog') return new FdSink(2);
  return new SyslogSink(FACILITIES[facility ?? ''] ?? DEFAULT_FACILITY, tag ?? 'httpd');
}

/** A sink that can change its target; loggers keep it. */
export class ErrorLog implements LineSink {
  #sink: LineSink = new FdSink(2);

  write(level: Level, room: string, text: string): void {
    this.#sink.write(level, room, text);
  }

  writeLine(line: string): void {
    this.#sink.writeLine(line);
  }

  /** Takes the error log of a CONFIG and owns its descriptors. */
  redirect(kind: string, fds: readonly number[]): void {
    const [log] = fds;
    if (log !== undefined) {
      duplicateTo(log, 1);
      duplicateTo(log, 2);
    }
    fds.forEach(closeFd);
    this.#sink = chooseSink(kind);
  }
}
