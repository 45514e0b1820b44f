/**
 * Opens the files of apps that the core may not open itself: log files and error pages. Always with the rights of the
 * app's user; a log file below directories that only root can change is opened (and made for that user) by root. The
 * names stand in Apache's configuration. Looks at no content.
 */
import { constants } from 'node:os';
import path from 'node:path';
import { PassengerError } from '../base/errors.js';
import { closeFd, openFile, type Identity, type Opening, type OpenOrder } from '../native.js';
import { resolveIdentity, type ResolvedIdentity } from './account-facts.js';
import type { Configuration } from './configuration.js';
import type { CoreProcess } from './core-process.js';
import { OPEN_PURPOSES, type Message, type OpenPurpose } from './messages.js';
import { malformed } from './records.js';

/** Each may hold a thread. */
const MAX_OPEN = 64;

export interface FileOpenerContext {
  configuration(): Configuration;
  core(): CoreProcess;
}

const failed = (errno: number, why: string): Opening => ({ fd: -1, errno, why });

export class FileOpener {
  #open = 0;

  constructor(private readonly context: FileOpenerContext) {}

  async handle(message: Message<'OPEN'>): Promise<void> {
    const core = this.context.core();
    const { epoch } = core;
    const { fd, errno, why } = await this.#opening(message);
    const fds = fd < 0 ? [] : [fd];
    // Its successor has not asked.
    if (epoch !== core.epoch) return fds.forEach(closeFd);
    core.send({ type: 'OPENED', requestId: message.requestId, errno, why }, fds, () => fds.forEach(closeFd));
  }

  async #opening(message: Message<'OPEN'>): Promise<Opening> {
    if (this.#open >= MAX_OPEN) return failed(constants.errno.EAGAIN, 'too many files at once');
    this.#open += 1;
    try {
      const purpose = this.#check(message);
      const owner = await this.#owner(message);
      return await this.#openAs(message.file, purpose, owner);
    } catch (error) {
      if (!(error instanceof PassengerError)) throw error;
      const errno = error.details['errno'];
      return failed(typeof errno === 'number' && errno > 0 ? errno : constants.errno.EPERM, error.message);
    } finally {
      this.#open -= 1;
    }
  }

  #check(message: Message<'OPEN'>): OpenPurpose {
    const purpose = OPEN_PURPOSES.find((known) => known === message.purpose);
    if (purpose === undefined || message.file === '' || !path.isAbsolute(message.appRoot))
      throw malformed('open request');
    if (path.isAbsolute(message.referenceFile) || message.referenceFile.split('/').includes('..'))
      throw malformed('path leaves the app root');
    const configuration = this.context.configuration();
    configuration.mustAllow(purpose === 'log' ? 'appLogFile' : 'customErrorPage', message.file);
    configuration.mustAllow('user', message.user);
    configuration.mustAllow('group', message.group);
    return purpose;
  }

  /** An app without its startup file cannot start, but its log still has an owner: that of the app root. */
  async #owner(message: Message<'OPEN'>): Promise<ResolvedIdentity> {
    const configuration = this.context.configuration();
    const ownUid = process.getuid?.() ?? 0;
    try {
      return await resolveIdentity(message, configuration, ownUid);
    } catch (error) {
      const missing = error instanceof PassengerError && error.details['path'] !== undefined;
      if (!missing || message.referenceFile === '') throw error;
      return resolveIdentity({ ...message, referenceFile: '' }, configuration, ownUid);
    }
  }

  async #openAs(
    file: string,
    purpose: OpenPurpose,
    { identity, rootPath }: ResolvedIdentity,
  ): Promise<Opening> {
    const append = purpose === 'log';
    const order: OpenOrder = { root: rootPath, file, append, identity, guarded: false, distrusted: [] };
    const own = await openFile(order);
    const closed = own.errno === constants.errno.EACCES || own.errno === constants.errno.EPERM;
    if (!append || !closed || identity === undefined || !path.isAbsolute(file)) return own;
    const guarded = await openFile({ ...order, guarded: true, distrusted: this.#distrusted(identity) });
    return guarded.errno === 0 ? guarded : own;
  }

  #distrusted({ gid, groups }: Identity): number[] {
    return [...groups, gid, this.context.configuration().message.coreGid];
  }
}
