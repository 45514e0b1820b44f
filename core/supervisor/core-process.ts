/**
 * Keeps one core alive: starts it, talks to it, watches its heartbeat, replaces it. Decides nothing about apps; what
 * the core asks for goes to the handlers. States as in the design: starting → serving → draining → stopped.
 */
import { constants } from 'node:os';
import path from 'node:path';
import type { Clock, ClockTimer } from '../base/clock.js';
import type { Log } from '../base/log.js';
import { PassengerError } from '../base/errors.js';
import { StateMachine, type TransitionTable } from '../base/state-machine.js';
import {
  closeFd,
  peekExit,
  reap,
  signalProcess,
  socketPair,
  spawnProcess,
  type Identity,
  type SpawnFailure,
} from '../native.js';
import { Channel } from './channel.js';
import { FROM_CORE, TO_CORE, type FromCore, type ToCore } from './messages.js';
import { signalName } from './processes.js';

const { SIGABRT, SIGKILL, SIGTERM } = constants.signals;

/**
 * Options of Node for the core. Nearly all objects of a request are garbage at its end: with V8's own choice (16 MB) they
 * spread over memory that is never given back, and over more than the processor's cache.
 */
const CORE_FLAGS: readonly string[] = ['--max-semi-space-size=2'];

/**
 * Descriptors for the core: two for each WebSocket (to Apache and to the app), so that 65,536 of them and more do not depend
 * on what Apache was started with. Less where fs.nr_open says so, or where we are not root.
 */
export const CORE_OPEN_FILES = 262_144;

export const LIMITS = {
  tickMs: 1000,
  /** Heartbeats that may be missing in a row; before the first one loading takes its time. */
  missedBeats: 5,
  missedAtStart: 30,
  abortGraceMs: 1000,
  /** So many exits within `burstMs` delay the next start. */
  burstExits: 5,
  burstMs: 10_000,
  firstDelayMs: 500,
  longestDelayMs: 10_000,
} as const;

type CoreState = 'idle' | 'starting' | 'serving' | 'draining' | 'stopped';
const TABLE: TransitionTable<CoreState> = {
  idle: ['starting', 'stopped'],
  starting: ['serving', 'draining', 'idle', 'stopped'],
  serving: ['draining', 'idle', 'stopped'],
  draining: ['stopped'],
  stopped: [],
};

export interface CorePlan {
  readonly passengerRoot: string;
  readonly identity: Identity | undefined;
  readonly nullFd: number;
  readonly coreSocket: number;
  readonly adminSocket: number;
  readonly oomScoreAdj: number | undefined;
}

export interface CoreHandlers {
  /** A fresh core: the handler sends configuration, adoptions and START. */
  introduce(): void;
  serving(): void;
  /** Neither READY nor HEARTBEAT. */
  request(message: FromCore): void;
  /** The first start failed in a way that another try cannot cure. */
  impossible(failure: PassengerError): void;
  stopped(): void;
}

export class CoreProcess {
  readonly #machine: StateMachine<CoreState>;
  #child: { readonly pid: number; readonly pidfd: number } | undefined;
  #channel: Channel<(typeof FROM_CORE)[number], (typeof TO_CORE)[number]> | undefined;
  #executed = false;
  #epoch = 0;
  #missed = 0;
  #beaten = false;
  #exits: number[] = [];
  #delayMs = 0;
  #restart: ClockTimer | undefined;

  constructor(
    private readonly plan: CorePlan,
    private readonly handlers: CoreHandlers,
    private readonly log: Log,
    private readonly clock: Clock,
  ) {
    this.#machine = new StateMachine<CoreState>(TABLE, 'idle', clock, ({ from, to, reason, tookMs }) =>
      log.info('core changed state', { from, to, reason, tookMs: Math.round(tookMs) }),
    );
  }

  get serving(): boolean {
    return this.#machine.state === 'serving';
  }

  get stopped(): boolean {
    return this.#machine.state === 'stopped';
  }

  /** Grows with each core; tells whether the one that asked for something is still there. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Without a core the message goes nowhere: the next one learns everything anew. */
  send(message: ToCore, fds: readonly number[] = [], sent: () => void = () => undefined): void {
    if (this.#channel === undefined) sent();
    else this.#channel.send(message, fds, sent);
  }

  start(): void {
    this.#restart = undefined;
    this.#machine.transition('starting', 'start');
    this.#epoch += 1;
    this.#missed = 0;
    this.#beaten = false;
    this.#executed = false;
    const [ours, theirs] = socketPair('seqpacket');
    try {
      this.#child = spawnProcess(this.#spawnPlan(theirs), (failure) => this.#started(failure));
    } finally {
      closeFd(theirs);
    }
    this.#channel = new Channel(
      ours,
      FROM_CORE,
      { onMessage: (message) => this.#receive(message), onEnd: (problem) => this.#channelEnded(problem) },
      this.clock,
    );
    this.handlers.introduce();
  }

  #spawnPlan(channel: number) {
    const { passengerRoot, nullFd, coreSocket, adminSocket, identity, oomScoreAdj } = this.plan;
    const script = path.join(passengerRoot, 'dist', 'core', 'core.js');
    const inherited = ['PATH', 'LANG', 'TZ'].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [`${name}=${value}`];
    });
    return {
      file: process.execPath,
      argv: [process.execPath, ...CORE_FLAGS, script],
      env: [...inherited, `PASSENGER_ROOT=${passengerRoot}`],
      cwd: '/',
      identity,
      umask: 0o077,
      fds: [nullFd, 1, 2, channel, coreSocket, adminSocket],
      listenPid: false,
      deathSignal: SIGTERM,
      openFiles: CORE_OPEN_FILES,
      oomScoreAdj,
      mustRead: script,
    };
  }

  #started(failure: SpawnFailure | undefined): void {
    this.#executed = true;
    if (failure !== undefined) this.#notExecuted(failure);
    this.reapIfEnded();
  }

  #notExecuted(failure: SpawnFailure): void {
    const { step, errno, obstacle } = failure;
    if (obstacle === undefined || obstacle.mode === 0) {
      this.log.report('PSG7020', { step, errno, path: obstacle?.path });
      return;
    }
    const mode = (obstacle.mode & 0o7777).toString(8).padStart(4, '0');
    this.handlers.impossible(
      new PassengerError('PSG7004', { path: obstacle.path, mode, owner: obstacle.uid, step, errno }),
    );
  }

  #receive(message: FromCore): void {
    // A core with a frozen gateway thread goes on asking: what it asks is no sign of life.
    if (message.type !== 'HEARTBEAT' && message.type !== 'READY') return this.handlers.request(message);
    this.#missed = 0;
    this.#beaten = true;
    if (message.type === 'HEARTBEAT') return;
    if (this.#machine.state !== 'starting') return;
    this.#machine.transition('serving', 'ready');
    this.handlers.serving();
  }

  /** Closed by a core that exits, or by us after a malformed record: what is left of it must go. */
  #channelEnded(problem: Error | undefined): void {
    if (problem instanceof PassengerError) this.log.report(problem.code, problem.details);
    else if (problem !== undefined) this.log.info('channel to the core broke', { why: problem.message });
    this.#channel = undefined;
    this.#signal(problem === undefined ? SIGTERM : SIGKILL);
    // A core that closed its channel without exiting cannot be talked to any more.
    this.#killLater(this.#epoch, LIMITS.abortGraceMs);
  }

  /** Once a second. Counting ticks, not time: a machine that slept has not missed anything. */
  tick(): void {
    if (this.#child === undefined || this.#channel === undefined) return;
    this.#missed += 1;
    const limit = this.#beaten ? LIMITS.missedBeats : LIMITS.missedAtStart;
    if (this.#missed !== limit + 1) return;
    this.log.report('PSG7007', { pid: this.#child.pid });
    this.#signal(SIGABRT);
    this.#killLater(this.#epoch, LIMITS.abortGraceMs);
  }

  #killLater(epoch: number, delayMs: number): void {
    this.clock.setTimeout(() => {
      if (epoch === this.#epoch) this.#signal(SIGKILL);
    }, delayMs);
  }

  #signal(number: number): void {
    if (this.#child === undefined) return;
    try {
      signalProcess(this.#child.pidfd, number);
    } catch {
      // It ended in this moment.
    }
  }

  /** For SIGCHLD. */
  reapIfEnded(): void {
    const child = this.#child;
    if (child === undefined || !this.#executed || !peekExit(child.pid)) return;
    const facts = reap(child.pid) ?? {};
    closeFd(child.pidfd);
    this.#child = undefined;
    this.#channel?.close();
    this.#channel = undefined;
    const signal = facts.signal === undefined ? undefined : signalName(facts.signal);
    if (this.#machine.state === 'draining') return this.#finish();
    if (this.stopped) return;
    this.log.report('PSG7006', { pid: child.pid, exitCode: facts.code, signal });
    this.#machine.transition('idle', 'exited');
    this.#startAgain();
  }

  #startAgain(): void {
    const now = this.clock.now();
    this.#exits = [...this.#exits.filter((time) => now - time < LIMITS.burstMs), now];
    if (this.#exits.length < LIMITS.burstExits) {
      this.#delayMs = 0;
      this.start();
      return;
    }
    const longer = this.#delayMs === 0 ? LIMITS.firstDelayMs : this.#delayMs * 2;
    this.#delayMs = Math.min(longer, LIMITS.longestDelayMs);
    this.log.report('PSG7008', { delayMs: this.#delayMs });
    this.#restart = this.clock.setTimeout(() => this.start(), this.#delayMs);
  }

  /** Asks the core to drain and exit; kills it when the deadline has passed. `stopped` follows. */
  stop(deadlineMs: number): void {
    if (this.stopped || this.#machine.state === 'draining') return;
    if (this.#restart !== undefined) this.clock.clearTimeout(this.#restart);
    if (this.#child === undefined) return this.#finish();
    this.#machine.transition('draining', 'stop');
    this.send({ type: 'CORE_STOP', deadlineMs });
    this.#killLater(this.#epoch, deadlineMs);
  }

  #finish(): void {
    this.#machine.transition('stopped', 'exited');
    this.handlers.stopped();
  }
}
