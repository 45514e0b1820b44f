/**
 * PassengerAppLogFile of one app group: appends its lines, follows a rotation, and gives them to the server's log
 * while the file cannot be used. Writing happens on a thread (the file may lie on a mount that never answers); what
 * waits meanwhile is bounded. Owns the descriptor. Made by GroupOutputs; knows nothing of processes and rates.
 */
import type { Clock } from '../base/clock.js';
import { errnoName } from '../base/errno.js';
import { errorText } from '../base/errors.js';
import type { Log } from '../base/log.js';

/** What the file is asked of the system; tests have their own. */
export interface LogFileSystem {
  append(fd: number, bytes: Buffer): Promise<{ readonly errno: number; readonly written: number }>;
  /** The present path of an open file; it changes when the file is renamed or removed. */
  pathOf(fd: number): string;
  close(fd: number): void;
}

/** A line as it stands in the file, and the way to the server's log. */
export interface LogLine {
  readonly text: string;
  toServer(): void;
}

export interface LogFileOptions {
  /** For messages. */
  readonly app: string;
  readonly file: string;
  /** Opens the file as the app's user; rejects with a reason in plain words. */
  readonly open: () => Promise<number>;
  readonly system: LogFileSystem;
  readonly clock: Clock;
  readonly log: Log;
}

/** Lines that wait for the disk. */
const WAITING_BYTES = 1024 * 1024;
/** After a failure the lines go to the server's log for so long, then the file is tried again. */
const RETRY_MS = 5000;
/** A rotation is noticed with the first line after so long. */
const LOOK_MS = 2000;
/** A disk that is full again and again is told once in so long. */
const REPORT_MS = 60_000;

export class LogFile {
  #fd = -1;
  #path = '';
  #waiting: LogLine[] = [];
  #waitingBytes = 0;
  #lost = 0;
  #busy = false;
  #reopen = false;
  #lookedAt = 0;
  /** Until then lines go to the server's log. */
  #retryAt = -1;
  #broken = false;
  #reportedAt = -REPORT_MS;
  /** The last write ended within a line. */
  #torn = false;
  #closed = false;
  #onIdle: (() => void)[] = [];

  constructor(private readonly options: LogFileOptions) {}

  write(line: LogLine): void {
    // Behind lines that still wait it waits, too: wherever they end up, their order is kept.
    if (!this.#busy && (this.#closed || this.#resting())) {
      line.toServer();
      return;
    }
    const bytes = Buffer.byteLength(line.text) + 1;
    if (this.#waitingBytes + bytes > WAITING_BYTES) {
      this.#lost += 1;
      return;
    }
    this.#waiting.push(line);
    this.#waitingBytes += bytes;
    if (!this.#busy) void this.#work();
  }

  /** At a reload: the next line goes to the file that has the name then. */
  reopen(): void {
    this.#reopen = true;
    this.#retryAt = -1;
  }

  /** Resolves when nothing waits any more. */
  idle(): Promise<void> {
    return this.#busy ? new Promise((resolve) => this.#onIdle.push(resolve)) : Promise.resolve();
  }

  /** What waits is written first. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.idle();
    this.#closeFile();
  }

  async #work(): Promise<void> {
    this.#busy = true;
    // What is written in one turn of the loop becomes one write.
    await new Promise(setImmediate);
    while (this.#waiting.length > 0) {
      if (!this.#resting() && (await this.#ready())) await this.#writeBatch();
      else for (const line of this.#take()) line.toServer();
    }
    this.#busy = false;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  /** The file has just refused lines. */
  #resting(): boolean {
    return this.#fd < 0 && this.options.clock.now() < this.#retryAt;
  }

  #take(): LogLine[] {
    const batch = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    if (this.#lost > 0) {
      const lines = this.#lost;
      this.#lost = 0;
      this.options.log.report('PSG6017', { app: this.options.app, file: this.options.file, lines });
    }
    return batch;
  }

  /** Whether there is an open file; opens it, or the one that has its name now. */
  async #ready(): Promise<boolean> {
    const renamed = this.#wasRenamed();
    if (this.#fd >= 0 && !this.#reopen && !renamed) return true;
    this.#reopen = false;
    try {
      const fd = await this.options.open();
      this.#closeFile();
      this.#fd = fd;
      this.#path = this.options.system.pathOf(fd);
      return true;
    } catch (error) {
      if (this.#fd < 0 || renamed) this.#fail(errorText(error));
      // Better in the file that has been moved away than nowhere of the app's own.
      return this.#fd >= 0;
    }
  }

  #wasRenamed(): boolean {
    const now = this.options.clock.now();
    if (this.#fd < 0 || now - this.#lookedAt < LOOK_MS) return false;
    this.#lookedAt = now;
    return this.options.system.pathOf(this.#fd) !== this.#path;
  }

  async #writeBatch(): Promise<void> {
    const batch = this.#take();
    const head = this.#torn ? '\n' : '';
    const bytes = Buffer.from(`${head}${batch.map(({ text }) => text).join('\n')}\n`);
    const { errno, written } = await this.options.system.append(this.#fd, bytes);
    if (errno === 0) {
      this.#torn = false;
      this.#recovered();
      return;
    }
    if (written > 0) this.#torn = bytes[written - 1] !== 10;
    this.#closeFile();
    this.#fail(errnoName(errno));
    for (const line of unwritten(batch, written - head.length)) line.toServer();
  }

  #recovered(): void {
    if (!this.#broken) return;
    this.#broken = false;
    const { app, file } = this.options;
    this.options.log.notice('log file of an app is used again', { app, file });
  }

  #fail(why: string): void {
    const { app, file, clock, log } = this.options;
    const now = clock.now();
    this.#retryAt = now + RETRY_MS;
    this.#broken = true;
    if (now - this.#reportedAt < REPORT_MS) return;
    this.#reportedAt = now;
    log.report('PSG6016', { app, file, why });
  }

  #closeFile(): void {
    if (this.#fd >= 0) this.options.system.close(this.#fd);
    this.#fd = -1;
  }
}

/** The lines that are not whole in the file. */
function unwritten(batch: readonly LogLine[], written: number): readonly LogLine[] {
  let bytes = 0;
  const first = batch.findIndex(({ text }) => {
    bytes += Buffer.byteLength(text) + 1;
    return bytes > written;
  });
  return first < 0 ? [] : batch.slice(first);
}
