/**
 * Logs: a constant sentence and fields. Each room has a logger of its own; all loggers of a process share one sink.
 * Nothing here is called on the way of a request above `debug`, and no line carries a secret.
 */
import { errnoName } from './errno.js';
import type { ErrorCode } from './error-codes.js';
import { errorRow, type Fields } from './errors.js';

/** Apache's names where Apache has them. */
export type Level = 'error' | 'warn' | 'notice' | 'info' | 'debug' | 'trace';

const RANK: Readonly<Record<Level, number>> = { error: 1, warn: 2, notice: 3, info: 4, debug: 5, trace: 6 };

/** Takes finished lines; the only thing that touches a descriptor. */
export interface LogSink {
  /** @param text one line without its end, for example `PSG6004 app did not … pid=4711` */
  write(level: Level, room: string, text: string): void;
}

/**
 * Which levels are written; shared by all loggers of a process so that a reload can change it.
 * The number is PassengerLogLevel's: 0 critical, 1 error, 2 warning, 3 notice, 4 info, 5 debug, 6 and 7 more.
 */
export class LogThreshold {
  constructor(public level: number = 3) {}

  allows(level: Level): boolean {
    return RANK[level] <= this.level;
  }
}

/** Renders a field's value so that one event stays one line, cannot imitate another and steers no terminal. */
function fieldText(value: string | number | boolean): string {
  if (typeof value !== 'string') return String(value);
  if (/^[\w./:@%+,-]+$/.test(value)) return value;
  // JSON leaves these as they are: DEL, the control characters of Latin-1, the line ends of Unicode.
  return JSON.stringify(value).replace(/[\x7f-\x9f\u2028\u2029]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** ` name=value` for each field that has a value; the number in a field `errno` becomes its word, 0 says nothing. */
export function formatFields(fields: Fields): string {
  let text = '';
  for (const [name, value] of Object.entries(fields)) {
    const isErrno = name === 'errno' && typeof value === 'number';
    if (value === undefined || (isErrno && value === 0)) continue;
    text += ` ${name}=${fieldText(isErrno ? errnoName(value) : value)}`;
  }
  return text;
}

export class Log {
  constructor(
    private readonly room: string,
    private readonly sink: LogSink,
    private readonly threshold: LogThreshold,
    private readonly common: Fields = {},
  ) {}

  /** A logger that adds `fields` to each line. */
  child(fields: Fields): Log {
    return new Log(this.room, this.sink, this.threshold, { ...this.common, ...fields });
  }

  /** A logger for another room with the same sink. */
  forRoom(room: string): Log {
    return new Log(room, this.sink, this.threshold, this.common);
  }

  enabled(level: Level): boolean {
    return this.threshold.allows(level);
  }

  /** A numbered message; level and sentence come from the table. */
  report(code: ErrorCode, fields: Fields = {}): void {
    const row = errorRow(code);
    this.#write(row.severity, `${code} ${row.message}`, fields);
  }

  notice(sentence: string, fields: Fields = {}): void {
    this.#write('notice', sentence, fields);
  }

  info(sentence: string, fields: Fields = {}): void {
    this.#write('info', sentence, fields);
  }

  debug(sentence: string, fields: Fields = {}): void {
    this.#write('debug', sentence, fields);
  }

  trace(sentence: string, fields: Fields = {}): void {
    this.#write('trace', sentence, fields);
  }

  #write(level: Level, sentence: string, fields: Fields): void {
    if (!this.threshold.allows(level)) return;
    this.sink.write(level, this.room, sentence + formatFields({ ...this.common, ...fields }));
  }
}
