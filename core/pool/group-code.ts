/**
 * The code of one group: counts its generations and brings new code in, because somebody asks for it or a restart file
 * says so (restart), or because of a reload (redeploy). Who is replaced when is decided by deployment.ts; the files are
 * looked at by restart-watch.ts. Owned by the group.
 */
import type { Clock } from '../base/clock.js';
import type { Fields } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { PacedLog } from '../base/paced-log.js';
import type { AppConfig } from '../config/app-config.js';
import type { AppProcess } from './app-process.js';
import { Deployment, type DeploymentHost } from './deployment.js';
import type { GroupLimits } from './limits.js';
import type { RestartRounds } from './restart-rounds.js';
import { RestartWatch, type FileQuestions, type RestartQuestion, type WatchOwner } from './restart-watch.js';
import type { Turn } from './turn.js';

export interface GroupCodeHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly turn: Turn;
  readonly files: FileQuestions;
  readonly rounds: RestartRounds;
  readonly config: AppConfig;
  readonly limits: GroupLimits;
  /** The shortest time between two looks at the restart files. */
  readonly statThrottleMs: number;
  readonly serving: readonly AppProcess[];
  readonly members: ReadonlySet<AppProcess>;
  readonly starting: number;
  readonly retired: boolean;
  /** Whether it has processes that new code would concern, or a pause that it would end. */
  readonly awake: boolean;
  /** There is new code: failures of the old do not count, and others may be started. */
  codeChanged(): void;
  /** Requests that waited for a look go on. */
  releaseHeld(): void;
  /** So do those that wait for the next one. */
  releaseAll(): void;
  /** Until when requests need not ask for a look may have changed. */
  watchMoved(): void;
}

export class GroupCode implements WatchOwner, DeploymentHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly files: FileQuestions;
  readonly rounds: RestartRounds;
  readonly deployment: Deployment;
  readonly watch: RestartWatch;
  readonly #lookFailures: PacedLog;
  #code: number;

  constructor(
    private readonly host: GroupCodeHost,
    code: number,
  ) {
    this.clock = host.clock;
    this.log = host.log;
    this.files = host.files;
    this.rounds = host.rounds;
    this.#code = code;
    this.deployment = new Deployment(this);
    this.#lookFailures = new PacedLog(host.log, host.clock);
    this.watch = new RestartWatch(this);
  }

  /** The generation. */
  get code(): number {
    return this.#code;
  }
  get serving(): readonly AppProcess[] {
    return this.host.serving;
  }
  get members(): ReadonlySet<AppProcess> {
    return this.host.members;
  }
  /** Whether the first process of its code is still starting. */
  get restarting(): boolean {
    const { serving, starting } = this.host;
    return this.deployment.trying || (serving.length === 0 && starting > 0);
  }

  /** A process with this code has been adopted. */
  adopted(code: number): void {
    this.#code = Math.max(this.#code, code);
  }

  /**
   * New code at the wish of somebody. By default as Passenger's: new requests wait for the new code, old ones finish
   * with the old. With rolling restarts old processes serve until they are replaced. Starts under way are canceled:
   * they may hang because of what has been mended.
   */
  restart(reason: string): void {
    this.log.notice('app restarts', { reason });
    const { rollingRestarts, resistErrors } = this.host.limits;
    const rolling = rollingRestarts && this.serving.length > 0;
    this.#renew();
    if (rolling) this.deployment.begin(reason, resistErrors ? 'resist' : 'give up');
    for (const process of [...this.members]) {
      if (!rolling || process.state === 'starting') process.drain('restart');
    }
  }

  /** New code in the background: what runs goes on serving until it is replaced one by one. */
  redeploy(reason: string): void {
    this.log.notice('app is redeployed', { reason });
    this.#renew();
    this.deployment.begin(reason);
  }

  #renew(): void {
    this.#code += 1;
    this.host.codeChanged();
  }

  // --- what the watch needs and tells

  get watched(): WatchOwner['watched'] {
    const { config, limits, statThrottleMs } = this.host;
    return { appRoot: config.appRoot, directory: limits.restartDir, throttleMs: statThrottleMs };
  }

  get awake(): boolean {
    return this.host.awake;
  }

  watchMoved(): void {
    this.host.watchMoved();
  }

  lookEnded(cause: RestartQuestion | undefined): boolean {
    return this.host.turn.run(() => {
      // While a restart runs, the files count later: the new code may have been read already.
      const acts = cause !== undefined && !this.restarting && !this.host.retired;
      if (acts) this.restart(cause);
      this.host.releaseHeld();
      return acts;
    });
  }

  lookOverdue(): void {
    this.host.turn.run(() => this.host.releaseAll());
  }

  lookFailed(fields: Fields): void {
    this.#lookFailures.report('PSG5009', { ...fields, directory: this.host.limits.restartDir });
  }
}
