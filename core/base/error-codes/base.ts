/** PSG0xxx: programming errors and conditions of a whole process. */
import type { ErrorRow } from '../error-row.js';

export const BASE_ERRORS = {
  PSG0001: {
    severity: 'error',
    message: 'internal error',
    cause: 'An assertion of this software failed, or an exception reached the top of a process.',
    outcome: 'The process ends on purpose and is started anew; running apps are adopted.',
    action: 'Report the stack that stands in the fields of the line.',
  },
} as const satisfies Record<string, ErrorRow>;
