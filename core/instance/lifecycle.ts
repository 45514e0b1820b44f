/**
 * The life of a core: starting → serving → draining → stopped. The composition root owns the only instance; whoever
 * wants to know whether new work is welcome asks it.
 */
import type { Clock } from '../base/clock.js';
import type { Log } from '../base/log.js';
import { StateMachine, type TransitionTable } from '../base/state-machine.js';

/**
 * starting: configuration and adopted processes arrive, nothing is accepted yet;
 * serving: connections are accepted;
 * draining: no new connection, open exchanges finish, apps end;
 * stopped: nothing is left to do but to exit.
 */
export type CoreState = 'starting' | 'serving' | 'draining' | 'stopped';

export const CORE_TRANSITIONS: TransitionTable<CoreState> = {
  starting: ['serving', 'draining', 'stopped'],
  serving: ['draining'],
  draining: ['stopped'],
  stopped: [],
};

export function createCoreLifecycle(clock: Clock, log: Log): StateMachine<CoreState> {
  return new StateMachine(CORE_TRANSITIONS, 'starting', clock, ({ from, to, reason, tookMs }) => {
    log.info('core changes state', { from, to, reason, tookMs: Math.round(tookMs) });
  });
}
