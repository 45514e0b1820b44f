/**
 * Answers what the core asks for: SPAWN, SIGNAL, STAT, MEMORY. Here the core is not trusted: programs, commands, users and
 * groups must stand in the configuration, pids must be our own children, and the number of open questions is bounded.
 */
import fs from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { errorText, PassengerError, type Fields } from '../base/errors.js';
import { formatFields, type Log } from '../base/log.js';
import { statBeneath, type SpawnFailure, type StatFacts } from '../native.js';
import { resolveIdentity } from './account-facts.js';
import type { Configuration } from './configuration.js';
import type { CoreProcess } from './core-process.js';
import { FileOpener } from './file-opener.js';
import type { InstanceDirectory } from './instance-directory.js';
import { buildLaunch, spawnKind } from './launch.js';
import {
  META_LIMIT,
  SIGNALS,
  STAT_QUESTIONS,
  type FromCore,
  type Message,
  type SpawnKind,
} from './messages.js';
import type { ProcessTable } from './processes.js';
import { malformed } from './records.js';
import { appSocketPath, bindAppSocket, removeAppSocket, type SocketOwner } from './sockets.js';

/** Each may hold a thread. */
const MAX_OPEN = 64;
const PAGE_BYTES = 4096;

/** Whose owner may decide the identity; an empty name is the app root. */
const REFERENCE_FILES: Readonly<Record<SpawnKind, (message: Message<'SPAWN'>) => readonly string[]>> = {
  node: (message) => [message.startupFile],
  command: () => [''],
  meteor: () => ['', '.meteor'],
  detect: () => ['', 'package.json'],
};

export interface RequestContext {
  readonly directory: InstanceDirectory;
  readonly owner: SocketOwner;
  readonly processes: ProcessTable;
  readonly nullFd: number;
  readonly oomScoreAdj: number | undefined;
  configuration(): Configuration;
  core(): CoreProcess;
}

interface Refusal {
  readonly code: string;
  readonly step: string;
  readonly errno: number;
  readonly detail: string;
}

/** The program `node` as configured: absolute, or found on our own PATH, never on the app's. */
function findNode(configured: string): string {
  if (configured === '' || configured === 'node') return process.execPath;
  if (path.isAbsolute(configured)) return configured;
  const places = (process.env['PATH'] ?? '').split(':').filter((place) => path.isAbsolute(place));
  const found = places.map((place) => path.join(place, configured)).find((file) => fs.existsSync(file));
  return found ?? `/usr/bin/${configured}`;
}

/** From the kernel's counters: no lock of the process is taken, and no byte of it is read. 0 when it is gone. */
function residentBytes(pid: number): number {
  try {
    const pages = Number(fs.readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]);
    return Number.isSafeInteger(pages) ? pages * PAGE_BYTES : 0;
  } catch {
    return 0;
  }
}

/**
 * How the operator reads a failed step.
 * @param program what was to be executed, which `obstacle` names only up to the first directory that is missing
 */
export function describeFailure(failure: SpawnFailure, program?: string): Refusal {
  const { step, errno, obstacle } = failure;
  const closed = errno === constants.errno.EACCES && obstacle !== undefined && obstacle.mode !== 0;
  const mode = closed ? (obstacle.mode & 0o7777).toString(8).padStart(4, '0') : undefined;
  const owner = closed ? `${obstacle.uid}:${obstacle.gid}` : undefined;
  const executed = step === 'exec' ? program : undefined;
  const fields: Fields = { program: executed, path: obstacle?.path, mode, owner };
  const error = closed ? new PassengerError('PSG7017', fields) : new PassengerError('PSG7016', fields);
  return { code: error.code, step, errno, detail: (error.row.message + formatFields(fields)).trim() };
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof PassengerError) {
    const errno = typeof error.details['errno'] === 'number' ? error.details['errno'] : 0;
    const detail = error.row.message + formatFields(error.details);
    return { code: error.code, step: 'prepare', errno, detail };
  }
  const errno = error instanceof Error && 'errno' in error ? Number(error.errno) : 0;
  const step = error instanceof Error && 'syscall' in error ? String(error.syscall) : 'prepare';
  const refusal = describeFailure({ step, errno: Math.abs(errno), obstacle: undefined });
  return { ...refusal, detail: `${refusal.detail}: ${errorText(error)}` };
}

export class RequestHandler {
  #open = 0;
  readonly #files: FileOpener;

  constructor(
    private readonly context: RequestContext,
    private readonly log: Log,
  ) {
    this.#files = new FileOpener(context);
  }

  handle(message: FromCore): void {
    if (message.type === 'SPAWN') void this.#spawn(message);
    else if (message.type === 'SIGNAL') this.#signal(message);
    else if (message.type === 'STAT') this.#stat(message);
    else if (message.type === 'OPEN') void this.#files.handle(message);
    else if (message.type === 'MEMORY') this.#memory(message.pid);
  }

  refuse(spawnId: number, refusal: Refusal): void {
    this.log.info('app process not started', { spawnId, ...refusal });
    this.context.core().send({ type: 'SPAWN_FAILED', spawnId, ...refusal });
  }

  async #spawn(message: Message<'SPAWN'>): Promise<void> {
    const epoch = this.context.core().epoch;
    this.#open += 1;
    try {
      if (this.#open > MAX_OPEN)
        throw Object.assign(new Error('too many starts at once'), { errno: constants.errno.EAGAIN });
      await this.#start(message, epoch);
    } catch (error) {
      if (epoch === this.context.core().epoch) this.refuse(message.spawnId, refusalOf(error));
    } finally {
      this.#open -= 1;
    }
  }

  async #start(message: Message<'SPAWN'>, epoch: number): Promise<void> {
    const { directory, owner, processes, nullFd, oomScoreAdj } = this.context;
    const configuration = this.context.configuration();
    this.#check(message, configuration);
    const socketFile = appSocketPath(directory, message.key);
    const resolved = await resolveIdentity(message, configuration, process.getuid?.() ?? 0);
    // The core may have been replaced meanwhile; the new one does not know of this start.
    if (epoch !== this.context.core().epoch) return;
    const launch = buildLaunch(message, {
      user: resolved.user,
      rootPath: resolved.rootPath,
      loaders: directory.loaders,
      node: findNode(message.nodejs),
    });
    const listenFd = bindAppSocket(socketFile, owner, configuration.socketBacklog);
    const { spawnId, key, meta } = message;
    try {
      const { identity } = resolved;
      processes.start({
        launch,
        identity,
        mayGainPrivileges: message.noNewPrivileges === 'off',
        listenFd,
        nullFd,
        oomScoreAdj,
        spawnId,
        key,
        meta,
        socketFile,
        epoch,
      });
    } catch (error) {
      removeAppSocket(socketFile);
      throw error;
    }
  }

  #check(message: Message<'SPAWN'>, configuration: Configuration): void {
    const kind = spawnKind(message);
    if (!path.isAbsolute(message.appRoot) || message.meta.length > META_LIMIT)
      throw malformed('spawn request');
    const needsFile = kind === 'node';
    if (needsFile !== (message.startupFile !== '')) throw malformed('startup file');
    for (const file of [message.startupFile, message.referenceFile]) {
      if (path.isAbsolute(file) || file.split('/').includes('..'))
        throw malformed('path leaves the app root');
    }
    // The core must not pick a file whose owner suits it.
    if (!REFERENCE_FILES[kind](message).includes(message.referenceFile)) throw malformed('reference file');
    if (message.nodejs !== 'node') configuration.mustAllow('nodejs', message.nodejs);
    configuration.mustAllow('startCommand', message.startCommand);
    configuration.mustAllow('user', message.user);
    configuration.mustAllow('group', message.group);
    configuration.mustAllow('meteorAppSettings', message.meteorAppSettings);
    configuration.mustAllow('noNewPrivileges', message.noNewPrivileges);
    if (kind === 'command' && message.startCommand === '') throw malformed('no command');
  }

  #signal(message: Message<'SIGNAL'>): void {
    const name = SIGNALS.find((known) => known === message.signal);
    if (name === undefined || !this.context.processes.signal(message.pid, name, message.group !== 0)) {
      this.log.debug('signal refused', { pid: message.pid, signal: message.signal });
    }
  }

  /** The core may ask only about our own children, whose numbers it knows already. */
  #memory(pid: number): void {
    const bytes = this.context.processes.has(pid) ? residentBytes(pid) : 0;
    this.context.core().send({ type: 'MEMORY_RESULT', pid, bytes: BigInt(bytes) });
  }

  #stat(message: Message<'STAT'>): void {
    const core = this.context.core();
    const epoch = core.epoch;
    const answer = (errno: number, facts?: StatFacts): void => {
      if (epoch !== core.epoch) return;
      core.send({
        type: 'STAT_RESULT',
        requestId: message.requestId,
        exists: facts === undefined ? 0 : 1,
        mtimeNs: facts?.mtimeNs ?? 0n,
        inode: facts?.inode ?? 0n,
        errno,
      });
    };
    const question = STAT_QUESTIONS.find((known) => known === message.question);
    if (question === undefined) return answer(constants.errno.EINVAL);
    if (this.#open >= MAX_OPEN) return answer(constants.errno.EAGAIN);
    const isFile = question === 'startup';
    const elsewhere = isFile ? undefined : otherRoot(message.appRoot, message.place);
    const root = elsewhere ?? message.appRoot;
    const relative = isFile
      ? message.place
      : path.join(elsewhere === undefined ? message.place : '', question);
    this.#open += 1;
    // Restart files are only looked at: they, or tmp/, may be symlinks to what all releases of an app share.
    statBeneath(root, relative, isFile ? 'refused' : 'as its maker', (facts) => {
      this.#open -= 1;
      if (facts.errno === 0) answer(0, facts);
      else answer(facts.errno);
    });
  }
}

/** The restart directory, if the configuration itself puts it outside of the app root. */
function otherRoot(appRoot: string, place: string): string | undefined {
  if (path.isAbsolute(place)) return place;
  // Not joined: what `..` means is said by the file system, since the app root may be a symlink.
  return path.normalize(place).split('/')[0] === '..' ? `${appRoot}/${place}` : undefined;
}
