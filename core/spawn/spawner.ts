/**
 * What the pool asks of spawning: start a process for an app, and hold a running one. Interfaces only, so that the
 * pool and its tests know nothing of supervisors, sockets or handshakes. Implemented in this room, called by the pool.
 */
import type { PassengerError } from '../base/errors.js';
import type { AppConfig } from '../config/app-config.js';

/** Where an app process takes connections. */
export type AppTarget = { readonly path: string } | { readonly host: '127.0.0.1'; readonly port: number };

/** How a process ended: by exit code, or by the name of a signal. */
export interface ExitReason {
  readonly code?: number;
  readonly signal?: string;
  /** True when we had asked it to end. */
  readonly expected: boolean;
}

/** What a loader tells about its process every few seconds. */
export interface AppReport {
  /** Event-loop utilisation, 0 to 1, since the report before. */
  readonly elu?: number;
  /** Bytes. */
  readonly heapUsed?: number;
}

/** A process that is ready for requests. It outlives its sessions; the pool decides when it ends. */
export interface AppProcessHandle {
  readonly pid: number;
  /** Names the process in the instance for as long as it lives. */
  readonly key: string;
  readonly target: AppTarget;
  /** Sessions that the app can take at the same time; 0 = unlimited. */
  readonly concurrency: number;
  readonly startedAt: Date;
  /** Whether a loader in it reports every few seconds. */
  readonly reports: boolean;
  /** The last lines of its output; a few may come only after its end. */
  readonly lastOutput: string;
  /** Resolves once, when the process has been reaped; never rejects. */
  readonly exited: Promise<ExitReason>;
  onReport(listener: (report: AppReport) => void): void;
  /** Asks politely, by whatever the app understands: the control message, or SIGTERM where there is no loader. */
  shutdown(): void;
  /** @param group whether the whole process group is meant; a process that has ended is silently left alone */
  signal(name: 'SIGTERM' | 'SIGKILL' | 'SIGABRT' | 'SIGINT', group: boolean): void;
}

/** A start that is under way. */
export interface SpawnAttempt {
  readonly id: number;
  /** Rejects with a PassengerError that carries the journey: at a failed step, at the start timeout, or when canceled. */
  readonly ready: Promise<AppProcessHandle>;
  cancel(): void;
  /** Kills what there is; `ready` rejects with this error. */
  abort(error: PassengerError): void;
  /** It is needed at once: no proof is waited for. */
  hurry(): void;
  /** Undefined until a process exists. */
  readonly pid: number | undefined;
}

/** What a process has to show before it counts as ready. */
export interface Proof {
  /** It has to live for so long after it could have served. */
  readonly ms: number;
  /** Called when it could serve; from here on the start costs nothing but time. */
  begins(): void;
}

export interface Spawner {
  /**
   * @param generation of the group's code: grows at each restart and redeploy; kept with the process for adoption
   * @param proof absent: it is ready as soon as it can serve
   */
  spawn(config: AppConfig, generation: number, proof?: Proof): SpawnAttempt;
}
