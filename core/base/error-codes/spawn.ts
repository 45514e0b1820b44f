/** PSG6xxx: starting an app process. */
import type { ErrorRow } from '../error-row.js';

export const SPAWN_ERRORS = {} as const satisfies Record<string, ErrorRow>;
