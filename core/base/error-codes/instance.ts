/** PSG8xxx: instance directory, administration, command line. */
import type { ErrorRow } from '../error-row.js';

export const INSTANCE_ERRORS = {} as const satisfies Record<string, ErrorRow>;
