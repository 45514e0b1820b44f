/**
 * The core's side of the channel to the supervisor: hands each message to the part of the core that it concerns, and
 * shows by heartbeats that the event loop turns. Decides nothing. Made by the composition root.
 */
import type { Clock, ClockTimer } from '../base/clock.js';
import { closeFd } from '../native.js';
import type { FromCore, Message, ToCore } from '../supervisor/messages.js';

/** What the rest of this room needs of the channel; tests have one of their own. */
export interface SupervisorLink {
  send(message: FromCore): void;
}

/** What concerns processes; SupervisorSpawner takes it. */
export type ProcessMessage = Message<'SPAWNED' | 'SPAWN_FAILED' | 'EXITED'>;

/** Whoever is given descriptors owns them. */
export interface CoreChannelHandlers {
  /** `errorLog` is the log to write to from now on, where the message brought one. */
  onConfig(config: Message<'CORE_CONFIG'>, errorLog: number | undefined): void;
  onAdopt(process: Message<'ADOPT'>, fds: readonly number[]): void;
  /** All running processes have been told. */
  onStart(): void;
  onProcess(message: ProcessMessage, fds: readonly number[]): void;
  onStat(result: Message<'STAT_RESULT'>): void;
  onOpened(result: Message<'OPENED'>, fds: readonly number[]): void;
  /** PassengerLogFile was opened anew. */
  onLog(fds: readonly number[]): void;
  onMemory(result: Message<'MEMORY_RESULT'>): void;
  onStop(deadlineMs: number): void;
  /** The supervisor is gone (undefined) or not to be understood; the core has to end. */
  onEnd(problem: Error | undefined): void;
}

/** The transport, which is the supervisor's room: its Channel fits. */
export interface ChannelEnd {
  send(message: FromCore): void;
  close(): void;
}

export interface ChannelEndHandlers {
  /** The handler owns `fds`. */
  onMessage(message: ToCore, fds: number[]): void;
  onEnd(problem: Error | undefined): void;
}

const HEARTBEAT_MS = 1000;

export class SupervisorChannel implements SupervisorLink {
  readonly #channel: ChannelEnd;
  #heartbeat: ClockTimer | undefined;

  /** @param open makes the transport: `(handlers) => new Channel(3, TO_CORE, handlers)` */
  constructor(
    open: (handlers: ChannelEndHandlers) => ChannelEnd,
    private readonly handlers: CoreChannelHandlers,
    private readonly clock: Clock,
  ) {
    this.#channel = open({
      onMessage: (message, fds) => this.#dispatch(message, fds),
      onEnd: (problem) => {
        this.#stopHeartbeat();
        handlers.onEnd(problem);
      },
    });
  }

  /** @throws PassengerError PSG7001 when the message is longer than the channel allows */
  send(message: FromCore): void {
    this.#channel.send(message);
  }

  /** @param alive whether the whole core is; as long as it is not, the heart does not beat */
  startHeartbeat(alive: () => boolean = () => true): void {
    this.#stopHeartbeat();
    if (alive()) this.send({ type: 'HEARTBEAT' });
    this.#heartbeat = this.clock.setTimeout(() => this.startHeartbeat(alive), HEARTBEAT_MS);
  }

  close(): void {
    this.#stopHeartbeat();
    this.#channel.close();
  }

  #stopHeartbeat(): void {
    if (this.#heartbeat !== undefined) this.clock.clearTimeout(this.#heartbeat);
    this.#heartbeat = undefined;
  }

  #dispatch(message: ToCore, fds: number[]): void {
    switch (message.type) {
      case 'CORE_CONFIG':
        fds.slice(1).forEach(closeFd);
        return this.handlers.onConfig(message, fds[0]);
      case 'ADOPT':
        return this.handlers.onAdopt(message, fds);
      case 'SPAWNED':
      case 'SPAWN_FAILED':
      case 'EXITED':
        return this.handlers.onProcess(message, fds);
      case 'OPENED':
        return this.handlers.onOpened(message, fds);
      case 'LOG':
        return this.handlers.onLog(fds);
      default:
        fds.forEach(closeFd);
    }
    switch (message.type) {
      case 'START':
        return this.handlers.onStart();
      case 'STAT_RESULT':
        return this.handlers.onStat(message);
      case 'MEMORY_RESULT':
        return this.handlers.onMemory(message);
      case 'CORE_STOP':
        return this.handlers.onStop(message.deadlineMs);
    }
  }
}
