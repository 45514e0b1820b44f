/**
 * One owner for each state: a table of legal moves and a single `transition` that may write the state.
 * An illegal move is a programming error: it throws, and whoever is at the top of the process decides.
 */
import assert from 'node:assert';
import type { Clock } from './clock.js';

/** For each state, the states that may follow it. A state with an empty list is final. */
export type TransitionTable<S extends string> = { readonly [From in S]: readonly S[] };

/** One move as told to the observer. `tookMs` is the time spent in the state that was left. */
export interface Transition<S extends string> {
  readonly from: S;
  readonly to: S;
  readonly reason: string;
  readonly tookMs: number;
}

export class StateMachine<S extends string> {
  #state: S;
  #since: number;

  constructor(
    private readonly table: TransitionTable<S>,
    initial: S,
    private readonly clock: Clock,
    private readonly observe: (transition: Transition<S>) => void = () => undefined,
  ) {
    this.#state = initial;
    this.#since = clock.now();
  }

  get state(): S {
    return this.#state;
  }

  can(to: S): boolean {
    return this.table[this.#state].includes(to);
  }

  /**
   * Moves to `to`, then tells the observer. The state is changed before anybody hears of it.
   * @throws AssertionError when the table has no such move.
   */
  transition(to: S, reason: string): void {
    const from = this.#state;
    assert(this.can(to), `illegal move ${from} -> ${to} (${reason})`);
    const now = this.clock.now();
    const tookMs = now - this.#since;
    this.#state = to;
    this.#since = now;
    this.observe({ from, to, reason, tookMs });
  }
}
