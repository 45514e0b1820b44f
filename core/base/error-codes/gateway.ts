/** PSG4xxx: the way of a request through the core. */
import type { ErrorRow } from '../error-row.js';

export const GATEWAY_ERRORS = {} as const satisfies Record<string, ErrorRow>;
