/**
 * The log of the core goes through winston; the target behind it (Apache's error log or syslog) gives the lines their
 * shape, so that core and supervisor write alike. Only the core uses this: the supervisor has no npm dependency. Lines
 * of apps do not come this way: spawn/output.ts writes them to the target directly.
 */
import { createLogger } from 'winston';
import Transport from 'winston-transport';
import type { Level, LogSink } from './log.js';

const LEVELS: Readonly<Record<Level, number>> = { error: 0, warn: 1, notice: 2, info: 3, debug: 4, trace: 5 };

interface Line {
  readonly level: Level;
  readonly message: string;
  readonly room: string;
}

class TargetTransport extends Transport {
  constructor(private readonly target: LogSink) {
    super();
  }

  override log(line: Line, next: () => void): void {
    this.target.write(line.level, line.room, line.message);
    next();
  }
}

/** The threshold is decided before (LogThreshold), so winston itself lets everything through. */
export function createWinstonSink(target: LogSink): LogSink {
  const logger = createLogger({
    level: 'trace',
    levels: LEVELS,
    transports: [new TargetTransport(target)],
  });
  return {
    write: (level, room, message): void => {
      logger.log({ level, message, room });
    },
  };
}
