/**
 * All app processes that run: their descriptors, their pidfd, what the core told us about them. Starts, signals and
 * reaps them. Owns both pipes and the control end of each process until its exit was told, so that a new core can
 * adopt it. A pid is signalled only while we have not reaped it; a group likewise.
 */
import { constants } from 'node:os';
import type { Log } from '../base/log.js';
import {
  closeFd,
  peekExit,
  pipe,
  reap,
  signalGroup,
  signalProcess,
  socketPair,
  spawnProcess,
  type ExitFacts,
  type Identity,
  type SpawnFailure,
} from '../native.js';
import type { Launch } from './launch.js';
import type { SignalName } from './messages.js';

const SIGKILL = constants.signals.SIGKILL;

/** Everything for one start; `listenFd` becomes the process's descriptor 3 and is closed here. */
export interface StartPlan {
  readonly launch: Launch;
  readonly identity: Identity | undefined;
  readonly mayGainPrivileges: boolean;
  readonly listenFd: number;
  readonly nullFd: number;
  readonly oomScoreAdj: number | undefined;
  readonly spawnId: number;
  readonly key: string;
  readonly meta: Buffer;
  readonly socketFile: string;
  /** Which core asked: a later one does not know of this start. */
  readonly epoch: number;
}

export interface AppProcess {
  readonly pid: number;
  readonly pidfd: number;
  readonly spawnId: number;
  readonly key: string;
  readonly meta: Buffer;
  readonly socketFile: string;
  readonly program: string;
  readonly epoch: number;
  readonly fds: readonly [stdout: number, stderr: number, control: number];
  /** `running`: exec succeeded; `failed`: it will end by itself and nobody is told. */
  phase: 'starting' | 'running' | 'failed';
}

export interface ProcessEvents {
  running(process: AppProcess): void;
  failed(process: AppProcess, failure: SpawnFailure): void;
  /** The listener calls `release` when nothing will be sent about the process any more. */
  exited(process: AppProcess, facts: ExitFacts, release: () => void): void;
}

/** `SIGTERM` for 15. */
export function signalName(number: number): string {
  const entry = Object.entries(constants.signals).find(([, value]) => value === number);
  return entry?.[0] ?? `SIG${number}`;
}

export class ProcessTable {
  readonly #processes = new Map<number, AppProcess>();

  constructor(
    private readonly events: ProcessEvents,
    private readonly log: Log,
  ) {}

  get size(): number {
    return this.#processes.size;
  }

  /** Processes whose exec succeeded. */
  running(): AppProcess[] {
    return [...this.#processes.values()].filter((process) => process.phase === 'running');
  }

  /** @throws NativeError of pipe, socketpair or fork */
  start(plan: StartPlan): void {
    const toClose = [plan.listenFd];
    const kept: number[] = [];
    const keep = ([ours, theirs]: [number, number]): [number, number] => {
      kept.push(ours);
      toClose.push(theirs);
      return [ours, theirs];
    };
    try {
      const stdout = keep(pipe());
      const stderr = keep(pipe());
      const control = keep(socketPair('stream'));
      const fds = [plan.nullFd, stdout[1], stderr[1], plan.listenFd, control[1]];
      this.#fork(plan, fds, [stdout[0], stderr[0], control[0]]);
    } catch (error) {
      kept.forEach(closeFd);
      throw error;
    } finally {
      toClose.forEach(closeFd);
    }
  }

  #fork(plan: StartPlan, childFds: readonly number[], fds: AppProcess['fds']): void {
    const child = spawnProcess(
      {
        ...plan.launch,
        identity: plan.identity,
        umask: 0o022,
        fds: childFds,
        listenPid: true,
        deathSignal: SIGKILL,
        mayGainPrivileges: plan.mayGainPrivileges,
        oomScoreAdj: plan.oomScoreAdj,
      },
      (failure) => this.#started(process, failure),
    );
    const { spawnId, key, meta, socketFile, epoch } = plan;
    const program = plan.launch.file;
    const facts = { spawnId, key, meta, socketFile, program, epoch, fds };
    const process: AppProcess = { ...child, ...facts, phase: 'starting' };
    this.#processes.set(child.pid, process);
    this.log.debug('app process forked', { pid: child.pid, key });
  }

  #started(process: AppProcess, failure: SpawnFailure | undefined): void {
    process.phase = failure === undefined ? 'running' : 'failed';
    if (failure === undefined) this.events.running(process);
    else this.events.failed(process, failure);
    this.#reapIfEnded(process);
  }

  /** Looks at our children only, each by its own pid; for SIGCHLD. */
  reapEnded(): void {
    for (const process of [...this.#processes.values()]) {
      // Before exec is confirmed or refused, `#started` will come and look.
      if (process.phase !== 'starting') this.#reapIfEnded(process);
    }
  }

  #reapIfEnded(process: AppProcess): void {
    if (!this.#processes.has(process.pid) || !peekExit(process.pid)) return;
    // The zombie still holds the number of its group: what is left of the group goes first, then the leader is reaped.
    this.#killGroup(process);
    const facts = reap(process.pid) ?? {};
    this.#processes.delete(process.pid);
    closeFd(process.pidfd);
    const release = (): void => process.fds.forEach(closeFd);
    if (process.phase === 'failed') release();
    else this.events.exited(process, facts, release);
  }

  #killGroup(process: AppProcess): void {
    try {
      signalGroup(process.pid, SIGKILL);
    } catch {
      // ESRCH: nobody is left. EPERM: only a zombie, or (without root) somebody else's.
    }
  }

  has(pid: number): boolean {
    return this.#processes.has(pid);
  }

  /** False when we have no such child. */
  signal(pid: number, name: SignalName, group: boolean): boolean {
    const process = this.#processes.get(pid);
    if (process === undefined) return false;
    const number = constants.signals[name];
    try {
      if (group) signalGroup(pid, number);
      else signalProcess(process.pidfd, number);
    } catch {
      // It ended in this moment; SIGCHLD is on its way.
    }
    return true;
  }

  signalAll(name: SignalName): void {
    for (const pid of this.#processes.keys()) this.signal(pid, name, true);
  }
}
