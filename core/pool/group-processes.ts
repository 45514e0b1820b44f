/**
 * The processes of one group: starts and adopts them, knows who serves, and passes on what happens to them. How many
 * there are to be is the pool's decision (scaling.ts), who leaves for new code the deployment's (deployment.ts); what
 * follows from failures is said by setbacks.ts. Owned by the group.
 */
import type { Clock } from '../base/clock.js';
import type { Log } from '../base/log.js';
import type { AppConfig } from '../config/app-config.js';
import type { AppProcessHandle, Spawner } from '../spawn/spawner.js';
import { AppProcess, type ProcessHost, type ProcessState } from './app-process.js';
import type { GroupBook } from './books.js';
import type { Deployment } from './deployment.js';
import { LifeSignsWatch } from './life-signs.js';
import type { GroupLimits } from './limits.js';
import { Losses } from './losses.js';
import { Setbacks, startError } from './setbacks.js';
import type { SilenceWatch } from './silence-watch.js';
import type { Turn } from './turn.js';

export interface GroupProcessesHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly turn: Turn;
  readonly config: AppConfig;
  readonly limits: GroupLimits;
  readonly book: GroupBook;
  readonly silence: SilenceWatch;
  /** A process takes sessions from now on. */
  processServes(): void;
  /** A substitute could serve, and has to live for a moment before it does. */
  processProves(process: AppProcess): void;
  /** A process takes no more sessions. */
  processLeft(process: AppProcess): void;
  processMoved(process: AppProcess, from: ProcessState, to: ProcessState): void;
  /** A pause after failures has begun or is over. */
  pauseMoved(): void;
}

export class GroupProcesses implements ProcessHost {
  /** All that have not exited. */
  readonly members = new Set<AppProcess>();
  readonly setbacks: Setbacks;
  readonly losses: Losses;
  readonly lifeSigns: LifeSignsWatch;
  readonly clock: Clock;
  readonly log: Log;
  readonly book: GroupBook;
  #serving: readonly AppProcess[] = [];

  /** @param random a number from 0 up to 1 */
  constructor(
    private readonly host: GroupProcessesHost,
    private readonly deployment: Deployment,
    private readonly spawner: Spawner,
    random: () => number,
  ) {
    this.clock = host.clock;
    this.log = host.log;
    this.book = host.book;
    this.setbacks = new Setbacks(host, random);
    this.losses = new Losses(host, this.setbacks);
    this.lifeSigns = new LifeSignsWatch(host, this.losses);
  }

  get limits(): GroupLimits {
    return this.host.limits;
  }
  /** Another array after each change. */
  get serving(): readonly AppProcess[] {
    return this.#serving;
  }
  get starting(): number {
    let count = 0;
    for (const process of this.members) if (process.state === 'starting') count += 1;
    return count;
  }

  /**
   * @param code generation of the group's code
   * @param ahead whether it is a substitute for a worn process
   */
  start(code: number, ahead: boolean): void {
    const { turn } = this.host;
    const ms = ahead ? this.deployment.proofMs : 0;
    const proof = { ms, begins: () => turn.run(() => this.#proves(process)) };
    const attempt = this.spawner.spawn(this.host.config, code, ms > 0 ? proof : undefined);
    const process: AppProcess = new AppProcess(code, ahead, this, attempt);
    this.#join(process);
    attempt.ready.then(
      (handle) => turn.run(() => this.#started(process, handle)),
      (error: unknown) => turn.run(() => this.#startFailed(process, error)),
    );
  }

  /** A process that an earlier core has started. */
  adopt(handle: AppProcessHandle, code: number): void {
    const process = new AppProcess(code, false, this);
    this.#join(process);
    this.#hear(process, handle);
    process.becomeReady(handle, 'adopted');
    this.#serve(process);
    this.host.processServes();
  }

  #join(process: AppProcess): void {
    this.members.add(process);
    this.host.processMoved(process, 'exited', 'starting');
  }

  #hear(process: AppProcess, handle: AppProcessHandle): void {
    void handle.exited.then((reason) => this.host.turn.run(() => this.losses.exited(process, reason)));
    handle.onReport((report) => process.hear(report));
  }

  #serve(process: AppProcess): void {
    this.lifeSigns.watch(process);
    this.#serving = [...this.#serving, process];
  }

  #started(process: AppProcess, handle: AppProcessHandle): void {
    this.#hear(process, handle);
    if (process.state !== 'starting') {
      process.readyTooLate(handle);
      return;
    }
    process.becomeReady(handle, 'started');
    this.setbacks.started();
    this.#serve(process);
    this.deployment.arrived(process)?.drain('its substitute is ready');
    this.host.processServes();
  }

  #proves(process: AppProcess): void {
    if (process.state === 'starting') this.host.processProves(process);
  }

  #startFailed(process: AppProcess, error: unknown): void {
    const canceled = process.state === 'stopping';
    process.ended(canceled ? 'start canceled' : 'start failed');
    if (canceled) return;
    const failure = startError(error);
    const verdict = this.deployment.startFailed(process, failure);
    if (verdict === 'resist') return;
    if (verdict === 'give up') for (const old of this.#serving) old.drain('the new code does not start');
    this.setbacks.startFailed(failure);
  }

  processMoved(process: AppProcess, from: ProcessState, to: ProcessState): void {
    if (from === 'ready') {
      this.#serving = this.#serving.filter((other) => other !== process);
      this.lifeSigns.forget(process);
      this.host.processLeft(process);
      // Nobody serves while a substitute shows whether it stays alive: whoever comes now waits for it.
      if (this.#serving.length === 0) for (const other of this.members) other.hurry();
    }
    if (to === 'exited') this.members.delete(process);
    if (to === 'draining') this.host.turn.tell(() => process.tellDraining());
    this.host.processMoved(process, from, to);
  }

  drainEnded(process: AppProcess): void {
    this.host.turn.run(() => process.stop('drain timeout'));
  }
}
