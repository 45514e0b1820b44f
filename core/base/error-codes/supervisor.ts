/** PSG7xxx: the supervisor and its system calls. */
import type { ErrorRow } from '../error-row.js';

export const SUPERVISOR_ERRORS = {} as const satisfies Record<string, ErrorRow>;
