/**
 * Which log the lines of supervisor, core and apps go to: Apache's error log, as CONFIG brings it, or PassengerLogFile.
 * Opens the file at each configuration and when it was renamed; tells the core. ErrorLog (logs.ts) does the writing.
 */
import { readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { errnoName } from '../base/errno.js';
import type { Log } from '../base/log.js';
import { closeFd, openFile, type Opening } from '../native.js';
import type { Configuration } from './configuration.js';
import type { ErrorLog } from './logs.js';

/** Descriptor 2 is the log as long as it is no syslog. */
const LOG_FD = 2;

/** A file that cannot be made again is not asked for each second. */
const LOOKS_BETWEEN_TRIES = 30;

export class ServerLog {
  #kind = 'fd';
  #configuration: Configuration | undefined;
  /** Where the open file stood when it was opened; empty when there is none. */
  #path = '';
  #skip = 0;

  /** @param renewed hears of a descriptor that stands for the log now */
  constructor(
    private readonly errorLog: ErrorLog,
    private readonly log: Log,
    private readonly renewed: (fd: number) => void,
  ) {}

  /** What the core is told: `fd`, or Apache's syslog target. */
  get kind(): string {
    return this.#kind;
  }

  /** @param fds the error log of Apache; owned by us */
  async configure(configuration: Configuration, fds: readonly number[]): Promise<void> {
    this.#configuration = configuration;
    this.#kind = configuration.message.errorLog;
    this.#path = '';
    this.errorLog.redirect(this.#kind, fds);
    await this.#open();
  }

  /** Once a second: a file that has been moved away is left. */
  look(): void {
    if (this.#path === '' || present() === this.#path) return;
    this.#skip -= 1;
    if (this.#skip >= 0) return;
    this.#skip = LOOKS_BETWEEN_TRIES;
    void this.#open().then((opened) => {
      if (!opened) return;
      this.#skip = 0;
      this.renewed(LOG_FD);
    });
  }

  async #open(): Promise<boolean> {
    const configuration = this.#configuration;
    if (configuration === undefined || configuration.logFile === '') return false;
    const { fd, errno, why } = await openServerLog(configuration);
    if (configuration !== this.#configuration) {
      // Another one has come meanwhile, and opens its own.
      if (fd >= 0) closeFd(fd);
      return false;
    }
    if (fd < 0) {
      this.log.report('PSG7025', { file: configuration.logFile, why, errno: errnoName(errno) });
      return false;
    }
    this.#kind = 'fd';
    this.errorLog.redirect('fd', [fd]);
    this.#path = present();
    return true;
  }
}

function present(): string {
  return readlinkSync(`/proc/self/fd/${LOG_FD}`);
}

/** Root opens the file only where nobody else could have put something in its place. */
function openServerLog({ logFile, message }: Configuration): Promise<Opening> {
  if (!logFile.startsWith('/'))
    return Promise.resolve({ fd: -1, errno: constants.errno.EINVAL, why: 'not an absolute path' });
  return openFile({
    root: '',
    file: logFile,
    append: true,
    identity: undefined,
    guarded: process.getuid?.() === 0,
    distrusted: [message.coreGid],
  });
}
