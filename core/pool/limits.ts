/**
 * The settings that the pool obeys, in the units in which it counts. The only place of the room that knows the names
 * of directives.
 */
import type { AppConfig } from '../config/app-config.js';
import type { ServerSettings } from '../config/settings.js';
import type { MemoryLimits } from './memory-rules.js';

export interface GroupLimits {
  readonly minInstances: number;
  /** 0 = no limit but the pool's. */
  readonly maxInstances: number;
  /** 0 = no limit. */
  readonly queueSize: number;
  /** Sessions for each process whatever it says itself; undefined = as it says, 0 = unlimited. */
  readonly forcedConcurrency: number | undefined;
  /** Requests after which a process is replaced; 0 = never. */
  readonly maxRequests: number;
  readonly startTimeoutMs: number;
  readonly drainTimeoutMs: number;
  readonly shutdownTimeoutMs: number;
  readonly redeployOnReload: boolean;
  /** On a restart, old processes serve until they are replaced one by one. */
  readonly rollingRestarts: boolean;
  /** Old processes stay when the new code does not start. */
  readonly resistErrors: boolean;
  readonly restartDir: string;
  readonly memory: MemoryLimits;
}

export interface PoolLimits {
  readonly maxPoolSize: number;
  /** Infinity = no limit. */
  readonly maxWaiting: number;
  /** Infinity = never. */
  readonly idleMs: number;
  readonly statThrottleMs: number;
}

/** Longer than any wait that makes sense, and short enough for a timer of Node's. */
const LONGEST_TIMER_MS = 2_000_000_000;

/** MB in the sense of RAM; 0 = no limit. */
const bytes = (megabytes: number): number => (megabytes === 0 ? Infinity : megabytes * 2 ** 20);

const milliseconds = (seconds: number): number => Math.min(seconds * 1000, LONGEST_TIMER_MS);

export function groupLimits(config: AppConfig, server: ServerSettings): GroupLimits {
  const app = config.settings;
  const forced = app.forceMaxConcurrentRequestsPerProcess;
  return {
    minInstances: app.minInstances,
    maxInstances: app.maxInstances > 0 ? app.maxInstances : server.maxInstancesPerApp,
    queueSize: app.maxRequestQueueSize,
    forcedConcurrency: forced < 0 ? undefined : forced,
    maxRequests: app.maxRequests,
    startTimeoutMs: milliseconds(app.startTimeout),
    drainTimeoutMs: milliseconds(app.drainTimeout),
    shutdownTimeoutMs: milliseconds(app.shutdownTimeout),
    redeployOnReload: app.redeployOnReload,
    // Errors can only be resisted as long as the old processes serve.
    rollingRestarts: app.rollingRestarts || app.resistDeploymentErrors,
    resistErrors: app.resistDeploymentErrors,
    restartDir: app.restartDir,
    memory: { softBytes: bytes(app.memoryLimit), hardBytes: bytes(app.hardMemoryLimit) },
  };
}

export function poolLimits(server: ServerSettings): PoolLimits {
  return {
    maxPoolSize: server.maxPoolSize,
    maxWaiting: server.maxWaitingRequests === 0 ? Infinity : server.maxWaitingRequests,
    idleMs: server.poolIdleTime === 0 ? Infinity : milliseconds(server.poolIdleTime),
    statThrottleMs: milliseconds(server.statThrottleRate),
  };
}
