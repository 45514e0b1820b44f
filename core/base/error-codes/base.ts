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
  PSG0002: {
    severity: 'warn',
    message: 'lines for the log were dropped, it did not take them in time',
    cause:
      'The program behind a piped ErrorLog, the disk of the log file or the syslog daemon took nothing for a while, and more lines came than may wait (1 MB in each process).',
    outcome:
      'Requests are not held up. That many lines are lost in this place; those before and after it are in their order.',
    action: 'Look at the program behind ErrorLog and at the disk of the log.',
  },
} as const satisfies Record<string, ErrorRow>;
