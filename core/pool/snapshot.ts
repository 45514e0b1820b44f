/**
 * The pool as plain data, for status, metrics and tests of other rooms. A picture of one moment: nothing in it
 * changes later, and nothing in it leads back into the pool.
 */
import type { Fields, PassengerError } from '../base/errors.js';
import type { AppGroup } from './app-group.js';
import type { AppProcess, ProcessState } from './app-process.js';
import type { DeploymentState } from './deployment.js';
import { loggable } from './setbacks.js';

export interface ProcessSnapshot {
  /** Undefined while it starts. */
  readonly pid: number | undefined;
  readonly key: string;
  readonly state: ProcessState;
  /** Generation of the group's code that it runs. */
  readonly code: number;
  /** It serves until its substitute is ready. */
  readonly worn: boolean;
  readonly sessions: number;
  readonly concurrency: number;
  readonly processed: number;
  readonly orderedAt: Date;
  readonly startedAt: Date | undefined;
  readonly uptimeMs: number;
  readonly idleMs: number;
  readonly elu: number | undefined;
  readonly heapUsed: number | undefined;
  /** Since its loader reported; undefined for a program without one. More than a few seconds: it stands still. */
  readonly silentMs: number | undefined;
  /** Bytes of the process and what belongs to it; measured only where there is a limit. */
  readonly memory: number | undefined;
}

export interface DeploymentFailure {
  /** Number of the error. */
  readonly error: string;
  readonly message: string;
  readonly details: Fields;
}

export interface GroupSnapshot {
  readonly key: string;
  readonly name: string;
  readonly appRoot: string;
  readonly baseUri: string;
  readonly environment: string;
  readonly code: number;
  readonly minInstances: number;
  readonly maxInstances: number;
  /** Requests that wait for a process, and those held back for a look at the restart files. */
  readonly waiting: number;
  readonly held: number;
  readonly starting: number;
  /** It has no process, and the pool is full of others that do not make way yet. */
  readonly starving: boolean;
  readonly restarting: boolean;
  /** The group gets no more requests; its processes finish theirs. */
  readonly retired: boolean;
  /** Number of the error that requests get while a pause after failures lasts; stays until a process is ready. */
  readonly failure: string | undefined;
  /** What that number means. */
  readonly failureMessage: string | undefined;
  /** 0 while the next try is under way. */
  readonly pauseMs: number;
  readonly deployment: DeploymentState;
  /** Why the group resists its new code and goes on with the old. */
  readonly deploymentFailure: DeploymentFailure | undefined;
  /** What is known of the failure, for people. */
  readonly failureDetails: Fields | undefined;
  readonly createdAt: Date;
  readonly processes: readonly ProcessSnapshot[];
}

export interface PoolSnapshot {
  readonly takenAt: Date;
  readonly generation: number;
  readonly maxPoolSize: number;
  /** Processes that count for the limit: starting and ready ones. */
  readonly capacityUsed: number;
  readonly processCount: number;
  /** Requests of groups that have no process and no place for one. */
  readonly starvingGroups: number;
  readonly stopping: boolean;
  readonly groups: readonly GroupSnapshot[];
}

export function processSnapshot(
  process: AppProcess,
  now: number,
  worn: boolean,
  memory: number | undefined,
): ProcessSnapshot {
  return {
    pid: process.pid === 0 ? undefined : process.pid,
    key: process.key,
    state: process.state,
    code: process.code,
    worn,
    sessions: process.sessions,
    concurrency: process.concurrency,
    processed: process.processed,
    orderedAt: process.orderedAt,
    startedAt: process.startedAt,
    uptimeMs: process.livedMs(now),
    idleMs: process.sessions > 0 ? 0 : now - process.lastUsed,
    elu: process.report.elu,
    heapUsed: process.report.heapUsed,
    silentMs: process.reports ? Math.max(0, now - process.lastReport) : undefined,
    memory,
  };
}

function failureSnapshot(failure: PassengerError | undefined): DeploymentFailure | undefined {
  if (failure === undefined) return undefined;
  return { error: failure.code, message: failure.row.message, details: loggable(failure) };
}

/**
 * @param starving whether it waits for a place in the pool
 * @param memoryOf bytes, where they are known
 */
export function groupSnapshot(
  group: AppGroup,
  now: number,
  starving: boolean,
  memoryOf: (process: AppProcess) => number | undefined,
): GroupSnapshot {
  const { failure, worn } = group;
  return {
    key: group.key,
    name: group.config.groupName,
    appRoot: group.config.appRoot,
    baseUri: group.config.baseUri,
    environment: group.config.settings.appEnv,
    code: group.code,
    minInstances: group.limits.minInstances,
    maxInstances: group.limits.maxInstances,
    waiting: group.queue.size,
    held: group.held,
    starting: group.starting,
    starving,
    restarting: group.restarting,
    retired: group.retired,
    failure: failure?.code,
    failureMessage: failure?.row.message,
    pauseMs: group.pauseLeftMs(now),
    deployment: group.deployment,
    deploymentFailure: failureSnapshot(group.deploymentFailure),
    failureDetails: failure === undefined ? undefined : loggable(failure),
    createdAt: group.createdAt,
    processes: [...group.members].map((process) =>
      processSnapshot(process, now, worn.includes(process), memoryOf(process)),
    ),
  };
}
