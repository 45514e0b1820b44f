/** What the error reference says about one number. */
export interface ErrorRow {
  /** Level of the log line. `warn`: degraded, will go on; `error`: a request, an app or a start failed. */
  readonly severity: 'error' | 'warn' | 'notice' | 'info';
  /** The constant sentence of the log line; data goes into fields. */
  readonly message: string;
  /** HTTP status that a client gets, where the condition ends a request. */
  readonly status?: 500 | 502 | 503 | 504 | 507 | 413 | 400;
  /** The one safe sentence that a client gets; no path, name or number of a machine. */
  readonly safe?: string;
  readonly cause: string;
  /** What the server does next. */
  readonly outcome: string;
  /** What the operator can do. */
  readonly action: string;
  /** True for a number that is not used any more. */
  readonly retired?: true;
}
