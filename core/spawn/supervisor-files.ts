/**
 * Questions about files that belong to app users. The core does not look itself: only the supervisor can do it without
 * following what a user may have put there. Bounded in number and in time. The pool's restart watch asks.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import { deferred, type Deferred } from '../base/deferred.js';
import type { Message, StatQuestion } from '../supervisor/messages.js';
import type { SupervisorLink } from './supervisor-channel.js';

export interface FileFacts {
  readonly exists: boolean;
  readonly mtimeNs: bigint;
  readonly inode: bigint;
}

interface Pending {
  readonly answer: Deferred<FileFacts>;
  readonly timer: ClockTimer;
}

const TIMEOUT_MS = 10_000;
const MAX_PENDING = 1024;
const NOTHING: FileFacts = { exists: false, mtimeNs: 0n, inode: 0n };

export class SupervisorFiles {
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;

  constructor(
    private readonly link: SupervisorLink,
    private readonly clock: Clock,
  ) {}

  /**
   * @param place the restart directory (absolute or relative to the app root), or the startup file
   * @throws Error when there is no answer in time (a dead mount), or too many questions are open
   */
  stat(appRoot: string, question: StatQuestion, place: string): Promise<FileFacts> {
    if (this.#pending.size >= MAX_PENDING)
      return Promise.reject(new Error('too many open questions about files'));
    const requestId = this.#nextId;
    this.#nextId = (this.#nextId + 1) >>> 0;
    const answer = deferred<FileFacts>();
    const timer = this.clock.setTimeout(() => {
      this.#pending.delete(requestId);
      answer.reject(new Error(`no answer about ${question} of ${appRoot} in ${TIMEOUT_MS} ms`));
    }, TIMEOUT_MS);
    this.#pending.set(requestId, { answer, timer });
    this.link.send({ type: 'STAT', requestId, appRoot, question, place });
    return answer.promise;
  }

  handle({ requestId, exists, mtimeNs, inode }: Message<'STAT_RESULT'>): void {
    const pending = this.#pending.get(requestId);
    if (pending === undefined) return;
    this.#pending.delete(requestId);
    this.clock.clearTimeout(pending.timer);
    pending.answer.resolve(exists === 1 ? { exists: true, mtimeNs, inode } : NOTHING);
  }
}
