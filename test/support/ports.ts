/** What the kernel says about TCP connections of this machine. */
import { readFileSync } from 'node:fs';

/** States of proc(5) in which the local end may still be in the hands of a process. */
const OPEN = new Set(['01', '04', '05', '08', '09', '0B']);

/** Connections of a local IPv4 port that are not wholly closed. */
export function openConnections(port: number): number {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return readFileSync('/proc/net/tcp', 'latin1')
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(local) === true && OPEN.has(fields[3] ?? '')).length;
}
