/**
 * PassengerCustomErrorPage: the file of each app, as it is shown to visitors. Opened as the user of the app (by the
 * supervisor), read on a thread, kept for a few seconds. A file that cannot be used is told once in the log, and the
 * gateway shows its own page. Made by the composition root; the gateway asks.
 */
import type { Clock } from '../base/clock.js';
import { errnoName } from '../base/errno.js';
import { errorText } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { AppConfig } from '../config/app-config.js';
import { BoundedMap } from '../config/bounded-map.js';

export interface PageFiles {
  /** Opens the page as the user of the app; rejects with a reason in plain words. */
  open(app: AppConfig): Promise<number>;
  readBytes(fd: number, limit: number): Promise<{ readonly errno: number; readonly bytes: Buffer }>;
  close(fd: number): void;
}

/** A visitor shall not download a film instead of an excuse. */
export const PAGE_BYTES = 256 * 1024;
const FRESH_MS = 5000;
/** So long a visitor waits for the page; then ours is good enough. */
const WAIT_MS = 500;
const MAX_PAGES = 256;

interface Page {
  body: Buffer | undefined;
  readAt: number;
  /** Resolves when the reading that is under way is over. */
  reading: Promise<void> | undefined;
  /** Why there is none, as the log was told. */
  problem: string;
}

export class ErrorPageFiles {
  readonly #pages = new BoundedMap<Page>(MAX_PAGES);

  constructor(
    private readonly files: PageFiles,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /** Never rejects. @returns undefined when the file cannot be used, or not in time */
  async read(app: AppConfig): Promise<Buffer | undefined> {
    const page = this.#pageOf(app);
    if (page.readAt >= 0 && this.clock.now() - page.readAt < FRESH_MS) return page.body;
    page.reading ??= this.#readAnew(app, page);
    await Promise.race([page.reading, this.#patience()]);
    return page.body;
  }

  #pageOf({ groupKey, settings }: AppConfig): Page {
    const key = JSON.stringify([groupKey, settings.customErrorPage]);
    const page = this.#pages.get(key) ?? { body: undefined, readAt: -1, reading: undefined, problem: '' };
    this.#pages.set(key, page);
    return page;
  }

  #patience(): Promise<void> {
    return new Promise((resolve) => this.clock.setTimeout(resolve, WAIT_MS));
  }

  async #readAnew(app: AppConfig, page: Page): Promise<void> {
    try {
      page.body = await this.#content(app);
      page.problem = '';
    } catch (error) {
      page.body = undefined;
      this.#tell(app, page, errorText(error));
    }
    page.readAt = this.clock.now();
    page.reading = undefined;
  }

  async #content(app: AppConfig): Promise<Buffer> {
    const fd = await this.files.open(app);
    try {
      const { errno, bytes } = await this.files.readBytes(fd, PAGE_BYTES);
      if (errno !== 0) throw new Error(`read, ${errnoName(errno)}`);
      return bytes;
    } finally {
      this.files.close(fd);
    }
  }

  #tell({ groupName, settings }: AppConfig, page: Page, why: string): void {
    if (why === page.problem) return;
    page.problem = why;
    this.log.report('PSG6018', { app: groupName, file: settings.customErrorPage, why });
  }
}
