/**
 * The states of an exchange and the moves between them. Pure; exchange.ts alone moves.
 *
 *   receiving -> waiting -> sending -> responding -> (flushing ->) done
 *                                   -> tunneling -> done          any state that is not final -> aborted
 */
export type ExchangeState =
  'receiving' | 'waiting' | 'sending' | 'responding' | 'flushing' | 'tunneling' | 'done' | 'aborted';

export const EXCHANGE_MOVES: Readonly<Record<ExchangeState, readonly ExchangeState[]>> = {
  receiving: ['waiting', 'done', 'aborted'],
  waiting: ['sending', 'done', 'aborted'],
  // Back to waiting: the process did not take the connection, another one may.
  sending: ['responding', 'tunneling', 'waiting', 'done', 'aborted'],
  responding: ['flushing', 'done', 'aborted'],
  // The app has done its part and is free; the client has not taken everything yet.
  flushing: ['done', 'aborted'],
  tunneling: ['done', 'aborted'],
  done: [],
  aborted: [],
};
