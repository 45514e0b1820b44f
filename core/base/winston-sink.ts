/**
 * The log sink of the core: winston in front of one descriptor. Only the core uses it; the supervisor has no npm
 * dependency and writes through FdSink, which gives the lines of both processes the same shape. Lines of apps do not
 * come this way: spawn/output.ts writes them directly.
 */
import { Writable } from 'node:stream';
import { createLogger, format, transports } from 'winston';
import type { FdSink } from './fd-sink.js';
import { apacheTime } from './fd-sink.js';
import type { Level, LogSink } from './log.js';

const LEVELS: Readonly<Record<Level, number>> = { error: 0, warn: 1, notice: 2, info: 3, debug: 4, trace: 5 };

/**
 * A sink that hands lines to winston, which hands them to `target`.
 * The threshold is decided before (LogThreshold), so winston itself lets everything through.
 */
export function createWinstonSink(target: FdSink, wall: () => Date = () => new Date()): LogSink {
  const stream = new Writable({
    decodeStrings: false,
    write(line: string | Buffer, _encoding, done) {
      target.writeLine(line.toString().replace(/\n$/, ''));
      done();
    },
  });
  const logger = createLogger({
    level: 'trace',
    levels: LEVELS,
    format: format.printf(({ level, message, room }) => {
      const head = `[${apacheTime(wall())}] [passenger_${String(room)}:${level}] [pid ${process.pid}]`;
      return `${head} ${String(message)}`;
    }),
    transports: [new transports.Stream({ stream, eol: '\n' })],
  });
  return {
    write: (level: Level, room: string, text: string): void => {
      logger.log({ level, message: text, room });
    },
  };
}
