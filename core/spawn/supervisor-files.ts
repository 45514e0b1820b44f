/**
 * Questions about files that belong to app users, and their opening. The core does not look itself: only the
 * supervisor can do it without following what a user may have put there. Bounded in number and in time. The pool's
 * restart watch, log files of apps and error pages ask.
 */
import { constants } from 'node:os';
import type { Clock, ClockTimer } from '../base/clock.js';
import { errnoName } from '../base/errno.js';
import { deferred, type Deferred } from '../base/deferred.js';
import type { AppConfig } from '../config/app-config.js';
import { closeFd } from '../native.js';
import type { Message, OpenPurpose, StatQuestion } from '../supervisor/messages.js';
import { ownerFile } from './launch-plan.js';
import type { SupervisorLink } from './supervisor-channel.js';

export interface FileFacts {
  readonly exists: boolean;
  readonly mtimeNs: bigint;
  readonly inode: bigint;
}

interface Pending<Answer> {
  readonly answer: Deferred<Answer>;
  readonly timer: ClockTimer;
}

const TIMEOUT_MS = 10_000;
const MAX_PENDING = 1024;
/** What says that a file is not there; anything else says nothing about it. */
const ABSENT: readonly number[] = [constants.errno.ENOENT, constants.errno.ENOTDIR];
const NOTHING: FileFacts = { exists: false, mtimeNs: 0n, inode: 0n };

/** Questions of one kind that wait for their answers. */
class Questions<Answer> {
  readonly #pending = new Map<number, Pending<Answer>>();
  #nextId = 1;

  constructor(private readonly clock: Clock) {}

  ask(what: string, send: (requestId: number) => void): Promise<Answer> {
    if (this.#pending.size >= MAX_PENDING)
      return Promise.reject(new Error('too many open questions about files'));
    const requestId = this.#nextId;
    this.#nextId = (this.#nextId + 1) >>> 0;
    const answer = deferred<Answer>();
    const timer = this.clock.setTimeout(() => {
      this.#pending.delete(requestId);
      answer.reject(new Error(`no answer about ${what} in ${TIMEOUT_MS} ms`));
    }, TIMEOUT_MS);
    this.#pending.set(requestId, { answer, timer });
    send(requestId);
    return answer.promise;
  }

  /** @returns whoever waits; undefined when nobody does any more */
  take(requestId: number): Deferred<Answer> | undefined {
    const pending = this.#pending.get(requestId);
    if (pending === undefined) return undefined;
    this.#pending.delete(requestId);
    this.clock.clearTimeout(pending.timer);
    return pending.answer;
  }
}

export class SupervisorFiles {
  readonly #stats: Questions<FileFacts>;
  readonly #openings: Questions<number>;

  constructor(
    private readonly link: SupervisorLink,
    clock: Clock,
  ) {
    this.#stats = new Questions(clock);
    this.#openings = new Questions(clock);
  }

  /**
   * @param place the restart directory (absolute or relative to the app root), or the startup file
   * @throws Error when nobody can say: no answer in time (a dead mount), no right to look, too many open questions
   */
  stat(appRoot: string, question: StatQuestion, place: string): Promise<FileFacts> {
    return this.#stats.ask(`${question} of ${appRoot}`, (requestId) =>
      this.link.send({ type: 'STAT', requestId, appRoot, question, place }),
    );
  }

  handle({ requestId, exists, mtimeNs, inode, errno }: Message<'STAT_RESULT'>): void {
    const waiting = this.#stats.take(requestId);
    if (exists === 1) waiting?.resolve({ exists: true, mtimeNs, inode });
    else if (ABSENT.includes(errno)) waiting?.resolve(NOTHING);
    else waiting?.reject(new Error(errnoName(errno)));
  }

  /**
   * Opens a file as the user of the app.
   * @param file absolute or relative to the app root; it stands in the configuration
   * @returns a descriptor that is the caller's
   * @throws Error with the reason in plain words
   */
  open(config: AppConfig, purpose: OpenPurpose, file: string): Promise<number> {
    const { appRoot, settings } = config;
    const { user, group } = settings;
    return this.#openings.ask(`${file} of ${appRoot}`, (requestId) =>
      this.link.send({
        type: 'OPEN',
        requestId,
        appRoot,
        purpose,
        file,
        user,
        group,
        referenceFile: ownerFile(config),
      }),
    );
  }

  /** @param fds owned by us */
  handleOpened({ requestId, errno, why }: Message<'OPENED'>, fds: readonly number[]): void {
    const [fd, ...rest] = fds;
    rest.forEach(closeFd);
    const waiting = this.#openings.take(requestId);
    if (waiting === undefined) {
      if (fd !== undefined) closeFd(fd);
    } else if (fd === undefined) waiting.reject(new Error(`${why}, ${errnoName(errno)}`));
    else waiting.resolve(fd);
  }
}
