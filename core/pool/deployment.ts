/**
 * How the processes of a group are replaced while they serve: new code at a reload or a rolling restart, and single
 * processes that are worn (too many requests, too much memory). It decides when a substitute is started and who goes
 * when it is ready; the group owns it, tells it what happens, and carries out what it says. A blocking restart needs
 * none of this.
 *
 * Rules (executed by invariants.ts):
 *  1. A process is worn when it runs older code than the group's, or when `wear` has said why. It goes on serving.
 *  2. settled: no worn process serves. trial: nothing of the group's code has been ready yet; one substitute at a time
 *     shows whether it starts and lives for PROOF_MS, before it serves, and nothing else is started. replacing: it has; while a worn process serves, a
 *     substitute is on the way, unless a pause lasts or too many other groups do the same. resisting: the code has
 *     failed its trial; old processes serve, nothing is started.
 *  3. A substitute may exceed the limits while it starts. When it is ready one worn process goes: so the group never
 *     has fewer processes than before, and afterwards not more.
 */
import type { Clock } from '../base/clock.js';
import type { PassengerError } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { StateMachine, type TransitionTable } from '../base/state-machine.js';
import type { AppProcess } from './app-process.js';
import { failedStart } from './setbacks.js';

export type DeploymentState = 'settled' | 'trial' | 'replacing' | 'resisting';

export const DEPLOYMENT_TRANSITIONS: TransitionTable<DeploymentState> = {
  settled: ['trial', 'replacing'],
  trial: ['replacing', 'resisting', 'settled'],
  replacing: ['trial', 'settled'],
  resisting: ['trial', 'settled'],
};

/**
 * What follows when code fails its trial. try again: after the pause, and old code serves; resist: old code serves, and
 * the code is not tried again; give up: old code goes, and visitors see the error.
 */
export type TrialFailure = 'try again' | 'resist' | 'give up';

export interface DeploymentHost {
  readonly clock: Clock;
  readonly log: Log;
  /** Generation of the group's code. */
  readonly code: number;
  readonly serving: readonly AppProcess[];
  readonly members: ReadonlySet<AppProcess>;
}

/** How long the first process of new code has to live before it serves and others follow it. */
export const PROOF_MS = 1000;
/** Substitutes of one group that start at the same time, and by how many it may exceed the limits. */
const SUBSTITUTES_AT_ONCE = 1;

export class Deployment {
  readonly #machine: StateMachine<DeploymentState>;
  #ifItFails: TrialFailure = 'try again';
  #failure: PassengerError | undefined;

  constructor(private readonly host: DeploymentHost) {
    this.#machine = new StateMachine(DEPLOYMENT_TRANSITIONS, 'settled', host.clock, (move) => {
      const { from, to, reason, tookMs } = move;
      host.log.info('app deployment changes state', { from, to, reason, tookMs: Math.round(tookMs) });
    });
  }

  get state(): DeploymentState {
    return this.#machine.state;
  }
  /** Why the group resists its code. */
  get failure(): PassengerError | undefined {
    return this.#failure;
  }
  /** Whether it is not known that the group's code works: nothing but its trial is started, and no old process leaves. */
  get unproven(): boolean {
    return this.state === 'trial' || this.state === 'resisting';
  }
  /** Worn processes that serve. */
  get worn(): AppProcess[] {
    return this.host.serving.filter((process) => this.isWorn(process));
  }
  /** Substitutes that are starting. */
  get underWay(): number {
    let count = 0;
    for (const process of this.host.members) {
      if (process.ahead && process.state === 'starting') count += 1;
    }
    return count;
  }
  /** Substitutes that should be started now. */
  get wanted(): number {
    if (this.state === 'replacing') {
      return Math.max(0, Math.min(this.worn.length, SUBSTITUTES_AT_ONCE) - this.underWay);
    }
    // A start that is under way is never canceled, so that frequent reloads cannot keep a slow app from starting.
    return this.state === 'trial' && !this.#someStart(0) ? 1 : 0;
  }
  /** How long a substitute that starts now has to live before it counts as ready. */
  get proofMs(): number {
    return this.state === 'trial' ? PROOF_MS : 0;
  }
  /** Whether code is on trial that may have been read already. */
  get trying(): boolean {
    return this.state === 'trial' && this.#someStart(this.host.code);
  }

  isWorn(process: AppProcess): boolean {
    return process.code < this.host.code || process.wornBy !== undefined;
  }

  #someStart(leastCode: number): boolean {
    for (const process of this.host.members) {
      if (process.state === 'starting' && process.code >= leastCode) return true;
    }
    return false;
  }

  /**
   * The group's code has changed, and what serves goes on serving. Without any process there is nothing to replace.
   * @param ifItFails undefined: as before while code is on trial or resisted, else it is tried again
   */
  begin(reason: string, ifItFails?: TrialFailure): void {
    this.#ifItFails = ifItFails ?? (this.unproven ? this.#ifItFails : 'try again');
    this.#failure = undefined;
    if (this.host.serving.length > 0 && this.state !== 'trial') this.#machine.transition('trial', reason);
  }

  /** This process is to be replaced, for the reason that it has been told. */
  wear(process: AppProcess, reason: string): void {
    if (process.state !== 'ready' || process.wornBy !== undefined) return;
    process.wornBy = reason;
    this.host.log.notice('app process is replaced', { pid: process.pid, reason });
    if (this.state === 'settled') this.#machine.transition('replacing', reason);
  }

  /** All adopted processes are known: some may run older code. */
  survey(): void {
    if (this.state === 'settled' && this.worn.length > 0) {
      this.#machine.transition('replacing', 'older code was adopted');
    }
  }

  /**
   * A process has begun to serve.
   * @returns the process whose place it takes: oldest code first, then the least busy one
   */
  arrived(process: AppProcess): AppProcess | undefined {
    const current = process.code === this.host.code;
    if (current && this.state === 'trial') this.#machine.transition('replacing', 'the new code has started');
    if (!current && this.state === 'settled') {
      this.#machine.transition('trial', 'the code has changed during a start');
    }
    if (!process.ahead) return undefined;
    return this.worn
      .filter((other) => other !== process)
      .sort((a, b) => (a.code === b.code ? a.sessions - b.sessions : a.code - b.code))[0];
  }

  /** A start has failed. @returns what is to be done about it */
  startFailed(process: AppProcess, failure: PassengerError): TrialFailure {
    if (this.state !== 'trial' || process.code < this.host.code) return 'try again';
    if (this.#ifItFails === 'resist') {
      this.#failure = failure;
      this.host.log.report('PSG5013', failedStart(failure));
      this.#machine.transition('resisting', 'the new code does not start');
    }
    return this.#ifItFails;
  }

  /** A process does not serve any more. */
  departed(): void {
    if (this.state === 'settled' || this.worn.length > 0) return;
    this.#failure = undefined;
    this.#machine.transition('settled', 'no process has to be replaced');
  }
}
