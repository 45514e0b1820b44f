/**
 * How much memory app processes take, measured from outside: the resident size of each, as ps and top show it, and of
 * the processes that belong to it the part that is theirs alone. To a process belong those of its session (supervised
 * processes begin one) and its descendants. Where the core may not look (/proc mounted with hidepid), the supervisor
 * is asked for the process alone. The pool's memory watch asks.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { Clock } from '../base/clock.js';

/** Fields of /proc/PID/stat that say to whom a process belongs (proc(5)). */
export interface Belonging {
  readonly parent: number;
  readonly session: number;
}

/** Pages of /proc/PID/statm. */
interface Pages {
  readonly resident: number;
  /** Of these, what other processes may share: files and shared memory. */
  readonly shared: number;
}

const PAGE_BYTES = 4096;
/** Who belongs to whom is looked up at most this often: it takes a look at every process of the machine. */
const FAMILIES_MS = 5000;
/** Processes that are looked at before others get a turn of the event loop; each takes some 20 µs. */
const SLICE = 64;

/** The command's name, which an app may choose, ends with the last parenthesis. */
export function parseBelonging(stat: string): Belonging | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const parent = Number(fields[1]);
  const session = Number(fields[3]);
  return Number.isSafeInteger(parent) && Number.isSafeInteger(session) && fields.length > 4
    ? { parent, session }
    : undefined;
}

export function parseStatm(text: string): Pages | undefined {
  const [, resident = NaN, shared = NaN] = text.split(' ').map(Number);
  return Number.isSafeInteger(resident) && Number.isSafeInteger(shared) ? { resident, shared } : undefined;
}

/** Who belongs to whom, as it was at one time. */
export class Families {
  readonly #children = new Map<number, number[]>();
  readonly #sessions = new Map<number, number[]>();

  constructor(readonly all: ReadonlyMap<number, Belonging>) {
    for (const [pid, { parent, session }] of all) {
      push(this.#children, parent, pid);
      push(this.#sessions, session, pid);
    }
  }

  /** Its session and its descendants, without the leader itself. */
  of(leader: number): number[] {
    const family = new Set([leader, ...(this.#sessions.get(leader) ?? [])]);
    // What is added while the loop runs is visited, too.
    for (const pid of family) for (const child of this.#children.get(pid) ?? []) family.add(child);
    family.delete(leader);
    return [...family];
  }
}

function push(lists: Map<number, number[]>, key: number, value: number): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}

/** Asks somebody who may look: bytes of the process alone, undefined when it is gone. */
export type AskForMemory = (pid: number) => Promise<number | undefined>;

export class ProcessMemory {
  #families = new Families(new Map());
  #familiesUntil = -Infinity;

  constructor(
    private readonly clock: Clock,
    private readonly ask: AskForMemory,
    private readonly root = '/proc',
  ) {}

  /** Bytes by pid; those that are gone are missing. */
  async measure(pids: readonly number[]): Promise<ReadonlyMap<number, number>> {
    if (this.clock.now() >= this.#familiesUntil) await this.#lookUpFamilies();
    const measured = new Map<number, number>();
    const hidden: number[] = [];
    for (const pid of pids) {
      const pages = this.#pagesOf(pid);
      if (pages === undefined) hidden.push(pid);
      else measured.set(pid, (pages.resident + this.#pagesOfFamily(pid)) * PAGE_BYTES);
    }
    for (const [pid, bytes] of await this.#askFor(hidden)) measured.set(pid, bytes);
    return measured;
  }

  async #askFor(pids: readonly number[]): Promise<[pid: number, bytes: number][]> {
    const answers = await Promise.all(
      pids.map(async (pid): Promise<[number, number | undefined]> => [pid, await this.ask(pid)]),
    );
    return answers.filter((answer): answer is [number, number] => answer[1] !== undefined);
  }

  #pagesOfFamily(leader: number): number {
    let pages = 0;
    for (const pid of this.#families.of(leader)) {
      // The number may be another's by now.
      const same = this.#belongingOf(pid)?.session === this.#families.all.get(pid)?.session;
      const own = same ? this.#pagesOf(pid) : undefined;
      if (own !== undefined) pages += Math.max(0, own.resident - own.shared);
    }
    return pages;
  }

  async #lookUpFamilies(): Promise<void> {
    const all = new Map<number, Belonging>();
    const names = readdirSync(this.root).filter((name) => /^\d+$/.test(name));
    for (let at = 0; at < names.length; at += SLICE) {
      for (const name of names.slice(at, at + SLICE)) {
        const belonging = this.#belongingOf(Number(name));
        if (belonging !== undefined) all.set(Number(name), belonging);
      }
      if (at + SLICE < names.length) await new Promise(setImmediate);
    }
    this.#families = new Families(all);
    this.#familiesUntil = this.clock.now() + FAMILIES_MS;
  }

  #belongingOf(pid: number): Belonging | undefined {
    return parseBelonging(this.#read(pid, 'stat') ?? '');
  }

  #pagesOf(pid: number): Pages | undefined {
    return parseStatm(this.#read(pid, 'statm') ?? '');
  }

  #read(pid: number, file: string): string | undefined {
    try {
      return readFileSync(`${this.root}/${pid}/${file}`, 'latin1');
    } catch {
      // ENOENT, ESRCH: it ended meanwhile. EPERM, ENOENT: it is hidden from us.
      return undefined;
    }
  }
}
