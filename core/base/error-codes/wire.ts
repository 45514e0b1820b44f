/** PSG3xxx: violations of the wire protocol. */
import type { ErrorRow } from '../error-row.js';

export const WIRE_ERRORS = {} as const satisfies Record<string, ErrorRow>;
