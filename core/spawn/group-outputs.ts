/**
 * The logs of all app groups that have processes or starts under way: one OutputLog for each group, because the rate
 * is limited for the group as a whole, and the group's own file where PassengerAppLogFile names one. Owns both. The
 * spawner takes a log for each start and each process, and gives it back.
 */
import type { AppConfig } from '../config/app-config.js';
import { LogFile, type LogFileSystem } from './log-file.js';
import { OutputLog, type OutputLogOptions } from './output-log.js';

export interface GroupOutputsOptions extends Omit<OutputLogOptions, 'groupName'> {
  /** Opens the log file of an app as its user. */
  readonly openLogFile: (config: AppConfig) => Promise<number>;
  readonly system: LogFileSystem;
}

interface Known {
  readonly log: OutputLog;
  /** What the file was opened by. */
  fileOf: string;
  users: number;
}

export class GroupOutputs {
  readonly #known = new Map<string, Known>();
  /** Files that still write their last lines. */
  readonly #closing = new Set<Promise<void>>();

  constructor(private readonly options: GroupOutputsOptions) {}

  acquire(config: AppConfig): OutputLog {
    const { groupKey, groupName } = config;
    const known = this.#known.get(groupKey) ?? {
      log: new OutputLog({ ...this.options, groupName }),
      fileOf: '',
      users: 0,
    };
    this.#known.set(groupKey, known);
    known.users += 1;
    this.#chooseFile(known, config);
    return known.log;
  }

  release({ groupKey }: AppConfig): void {
    const known = this.#known.get(groupKey);
    if (known === undefined) return;
    known.users -= 1;
    if (known.users > 0) return;
    this.#known.delete(groupKey);
    this.#closeFile(known.log);
  }

  /** At a reload: files that were moved away are left. */
  reopen(): void {
    for (const { log } of this.#known.values()) log.file?.reopen();
  }

  /** Resolves when nothing waits for a disk any more. */
  async idle(): Promise<void> {
    const files = [...this.#known.values()].map(({ log }) => log.file?.idle());
    await Promise.all([...files, ...this.#closing]);
  }

  /** The configuration of the latest start counts. */
  #chooseFile(known: Known, config: AppConfig): void {
    const { appLogFile, user, group } = config.settings;
    const fileOf = JSON.stringify([config.appRoot, appLogFile, user, group]);
    if (fileOf === known.fileOf) return;
    known.fileOf = fileOf;
    this.#closeFile(known.log);
    if (appLogFile === '') return;
    const { openLogFile, system, clock, log } = this.options;
    known.log.file = new LogFile({
      app: config.groupName,
      file: appLogFile,
      open: () => openLogFile(config),
      system,
      clock,
      log,
    });
  }

  #closeFile(log: OutputLog): void {
    const { file } = log;
    if (file === undefined) return;
    log.file = undefined;
    const closed = file.close().finally(() => this.#closing.delete(closed));
    this.#closing.add(closed);
  }
}
