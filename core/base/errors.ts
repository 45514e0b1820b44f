/**
 * Expected failures as values with a number. What is not expected is an assertion, never a PassengerError.
 */
import { ERROR_CODES, type ErrorCode } from './error-codes.js';
import type { ErrorRow } from './error-row.js';

/** Plain data about a failure or an event. Never secrets: no environment values, cookies, query strings. */
export type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

export function errorRow(code: ErrorCode): ErrorRow {
  return ERROR_CODES[code];
}

/** Plain text of a caught value, whatever it was. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export class PassengerError extends Error {
  override readonly name = 'PassengerError';

  /**
   * @param code the permanent number; its row says what it means
   * @param details data for the log line and the developer's page, never for clients in production
   */
  constructor(
    readonly code: ErrorCode,
    readonly details: Fields = {},
    options: { cause?: unknown } = {},
  ) {
    super(`${code} ${errorRow(code).message}`, options);
  }

  get row(): ErrorRow {
    return errorRow(this.code);
  }
}
