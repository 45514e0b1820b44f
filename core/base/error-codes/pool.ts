/** PSG5xxx: routing and pool. */
import type { ErrorRow } from '../error-row.js';

export const POOL_ERRORS = {} as const satisfies Record<string, ErrorRow>;
