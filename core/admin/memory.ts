/**
 * What the kernel says about a process, from /proc. The core may not read another user's smaps, so memory is the
 * resident set (statm), which every user may read. Nothing here fails: a process that is gone has no facts.
 */
import { readFileSync } from 'node:fs';

export interface ProcessFacts {
  /** Resident memory in bytes. */
  readonly residentBytes: number;
  /** User + system time since the start of the process, in milliseconds. */
  readonly cpuMs: number;
}

const PAGE_BYTES = 4096;
/** USER_HZ: the kernel's unit of times in /proc, 100 on all Linux ports that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Fields of /proc/PID/stat behind the command name, which may itself hold spaces and parentheses (proc(5)). */
export function parseStat(text: string): { userTicks: number; systemTicks: number } | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const userTicks = Number(fields[11]);
  const systemTicks = Number(fields[12]);
  return Number.isFinite(userTicks) && Number.isFinite(systemTicks) ? { userTicks, systemTicks } : undefined;
}

export function readProcessFacts(pid: number): ProcessFacts | undefined {
  try {
    const stat = parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
    const pages = Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]);
    if (stat === undefined || !Number.isFinite(pages)) return undefined;
    const cpuMs = ((stat.userTicks + stat.systemTicks) * 1000) / TICKS_PER_SECOND;
    return { residentBytes: pages * PAGE_BYTES, cpuMs };
  } catch {
    // ENOENT, ESRCH: the process ended meanwhile.
    return undefined;
  }
}
