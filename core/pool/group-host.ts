/** The pool as its groups see it. Implemented by pool.ts; an interface only, so that groups do not depend on the pool. */
import type { Clock } from '../base/clock.js';
import type { Log } from '../base/log.js';
import type { ServerSettings } from '../config/settings.js';
import type { Spawner } from '../spawn/spawner.js';
import type { AppGroup } from './app-group.js';
import type { AppProcess, ProcessState } from './app-process.js';
import type { RestartRounds } from './restart-rounds.js';
import type { FileQuestions } from './restart-watch.js';
import type { SilenceWatch } from './silence-watch.js';
import type { Turn } from './turn.js';
import type { WaitingTotal } from './waiting-total.js';

/** What a group needs of the pool. */
export interface GroupHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly turn: Turn;
  readonly spawner: Spawner;
  readonly files: FileQuestions;
  readonly rounds: RestartRounds;
  readonly silence: SilenceWatch;
  readonly random: () => number;
  /** Of all groups. */
  readonly waitingTotal: WaitingTotal;
  /** The server's settings as they are now. */
  readonly server: ServerSettings;
  choose(candidates: readonly AppProcess[]): AppProcess | undefined;
  processMoved(group: AppGroup, process: AppProcess, from: ProcessState, to: ProcessState): void;
  /** A substitute could serve, and has to live for a moment before it does. */
  processProves(group: AppGroup, process: AppProcess): void;
  /** The group's needs may have changed; looked at before the turn ends. */
  needsChanged(group: AppGroup): void;
  /** A process has nothing to do, and somebody else may want its place. */
  processIdle(group: AppGroup, process: AppProcess): void;
}
