/** PSG1xxx: messages of the Apache module. */
import type { ErrorRow } from '../error-row.js';

export const SHIM_ERRORS = {} as const satisfies Record<string, ErrorRow>;
