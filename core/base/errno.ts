/** Numbers of the system as the words that people look up. */
import { constants } from 'node:os';

/** `ENOSPC` for 28. */
export function errnoName(errno: number): string {
  const entry = Object.entries(constants.errno).find(([, value]) => value === errno);
  return entry?.[0] ?? `errno ${errno}`;
}
