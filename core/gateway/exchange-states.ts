/**
 * The states of an exchange and the moves between them. Pure; exchange.ts alone moves.
 *
 *   receiving -> waiting -> sending -> responding -> (flushing ->) done
 *                                   -> tunneling -> done          any state that is not final -> aborted
 *   before the head: -> answering -> done, while the app's error page is fetched
 */
export type ExchangeState =
  | 'receiving'
  | 'waiting'
  | 'sending'
  | 'responding'
  | 'flushing'
  | 'answering'
  | 'tunneling'
  | 'done'
  | 'aborted';

export const EXCHANGE_MOVES: Readonly<Record<ExchangeState, readonly ExchangeState[]>> = {
  receiving: ['waiting', 'answering', 'done', 'aborted'],
  waiting: ['sending', 'answering', 'done', 'aborted'],
  // Back to waiting: the process did not take the connection, another one may.
  sending: ['responding', 'tunneling', 'waiting', 'answering', 'done', 'aborted'],
  responding: ['flushing', 'done', 'aborted'],
  // The app has done its part and is free; the client has not taken everything yet.
  flushing: ['done', 'aborted'],
  // The failure is decided; the page that tells of it is on its way.
  answering: ['done', 'aborted'],
  tunneling: ['done', 'aborted'],
  done: [],
  aborted: [],
};
