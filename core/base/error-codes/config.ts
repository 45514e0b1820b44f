/** PSG2xxx: directives and their values. */
import type { ErrorRow } from '../error-row.js';

export const CONFIG_ERRORS = {} as const satisfies Record<string, ErrorRow>;
