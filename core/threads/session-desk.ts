/**
 * The pool's end of the gateway threads, in the main thread: tells all of them which processes there are, and carries
 * their requests to the pool and the answers back. It decides nothing and keeps only what is on its way.
 */
import type { AppGroup } from '../pool/app-group.js';
import type { AppProcess } from '../pool/app-process.js';
import type { Pool, PoolAudience } from '../pool/pool.js';
import type { Session } from '../pool/session.js';
import type { Ticket } from '../pool/waiting-list.js';
import type { DeskMessage, ProcessNote, SessionMessage } from './messages.js';

interface Known {
  readonly group: AppGroup;
  readonly process: AppProcess;
}

/** One thread at the desk. */
export interface DeskSeat {
  handle(message: SessionMessage): void;
}

export class SessionDesk implements PoolAudience {
  readonly #posts: ((message: DeskMessage) => void)[] = [];
  /** Groups that the threads know, by key. */
  readonly #groups = new Map<string, AppGroup>();
  /** What was said last of each group: the processes that have been ready and have not exited. */
  readonly #said = new Map<AppGroup, ReadonlySet<AppProcess>>();
  /** All of these, by key. */
  readonly #processes = new Map<string, Known>();

  constructor(private readonly pool: Pool) {}

  /** Before the first process of the pool: a thread hears what happens, not what has happened. */
  join(post: (message: DeskMessage) => void): DeskSeat {
    this.#posts.push(post);
    const tickets = new Map<number, Ticket>();
    return { handle: (message) => this.#handle(message, tickets, post) };
  }

  groupChanged(group: AppGroup): void {
    const before = this.#said.get(group);
    const processes = new Set([...group.members].filter((process) => process.pid !== 0));
    this.#said.set(group, processes);
    for (const process of before ?? []) if (!processes.has(process)) this.#processes.delete(process.key);
    for (const process of processes) {
      if (before?.has(process) === true) continue;
      this.#processes.set(process.key, { group, process });
      if (process.state !== 'ready') continue;
      process.onDrain(() => this.#tellAll({ kind: 'drains', process: process.key }));
    }
    // Of a group that has left, only the end of its sessions matters; its key may be another's by now.
    if (group.retired) return;
    this.#groups.set(group.key, group);
    this.#tellAll({
      kind: 'group',
      key: group.key,
      memory: group.book.memory,
      processes: [...processes].map(noteOf),
    });
  }

  groupGone(group: AppGroup): void {
    for (const process of this.#said.get(group) ?? []) this.#processes.delete(process.key);
    this.#said.delete(group);
    if (this.#groups.get(group.key) !== group) return;
    this.#groups.delete(group.key);
    this.#tellAll({ kind: 'group-gone', key: group.key });
  }

  #tellAll(message: DeskMessage): void {
    for (const post of this.#posts) post(message);
  }

  #handle(message: SessionMessage, tickets: Map<number, Ticket>, post: (message: DeskMessage) => void): void {
    if (message.kind === 'checkout') {
      this.#checkout(message, tickets, post);
      return;
    }
    if (message.kind === 'cancel') {
      tickets.get(message.ticket)?.cancel();
      tickets.delete(message.ticket);
      return;
    }
    // A process that has exited is of no interest.
    const known = this.#processes.get(message.process);
    if (known === undefined) return;
    const { group, process } = known;
    if (message.kind === 'fell') group.requests.sessionsFell(process);
    else if (message.kind === 'overdue') this.pool.overdue(group, process, message.limit);
    else this.pool.unreachable(group, process);
  }

  #checkout(
    { ticket, groupKey, config: sent, options }: SessionMessage & { kind: 'checkout' },
    tickets: Map<number, Ticket>,
    post: (message: DeskMessage) => void,
  ): void {
    const config = sent ?? this.pool.configOf(groupKey);
    if (config === undefined) {
      post({ kind: 'ask-again', ticket });
      return;
    }
    // The session is counted in the shared book, and the thread gives it back there.
    const grant = (session: Session): void => {
      tickets.delete(ticket);
      post({ kind: 'session', ticket, process: session.process.key });
    };
    const answer = this.pool.checkout(
      config,
      {
        onSession: grant,
        onFailure: ({ code, details }) => {
          tickets.delete(ticket);
          post({ kind: 'failure', ticket, code, details });
        },
      },
      options,
    );
    if ('target' in answer) grant(answer);
    else tickets.set(ticket, answer);
  }
}

function noteOf(process: AppProcess): ProcessNote {
  const { key, pid, stickyId, target, book } = process;
  return { key, pid, stickyId, target, memory: book.memory };
}
