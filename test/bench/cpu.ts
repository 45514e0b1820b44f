/**
 * What processes have cost so far: CPU time from /proc/PID/stat and private memory from smaps_rollup. Ticks of children
 * that have ended are counted through their parent (cutime, cstime), so that a worker which Apache retires is not lost.
 */
import { readFileSync } from 'node:fs';
import { type ProcessInfo, familyOf } from '../support/processes.js';

/** USER_HZ, the unit of /proc/PID/stat: 100 on every Linux port that we know. */
const TICK_US = 1_000_000 / 100;

export type Role = 'apache' | 'between' | 'app';

export interface CpuTimes {
  readonly apache: number;
  readonly between: number;
  readonly app: number;
}

function ticksOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // utime stime cutime cstime are fields 14 to 17 of proc(5), of which three are cut off here.
    return [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0);
  } catch {
    return 0; // ended: its parent has its ticks
  }
}

function roleOf(process: ProcessInfo, apps: ReadonlySet<number>): Role {
  if (apps.has(process.pid) || /NodeApp|app\.js/.test(process.title)) return 'app';
  return process.title.includes('apache2') ? 'apache' : 'between';
}

/** All processes on the way of a request: the families of `roots`. */
export function processesOf(roots: readonly number[]): ProcessInfo[] {
  const found = new Map<number, ProcessInfo>();
  for (const root of roots) for (const info of familyOf(root)) found.set(info.pid, info);
  return [...found.values()];
}

/** CPU time in microseconds so far, by role. */
export function cpuTimes(processes: readonly ProcessInfo[], apps: ReadonlySet<number>): CpuTimes {
  const sum = { apache: 0, between: 0, app: 0 };
  for (const info of processes) sum[roleOf(info, apps)] += ticksOf(info.pid) * TICK_US;
  return sum;
}

/** Memory that the process shares with no other, in MB. */
export function privateMb(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  const kb = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(rollup)?.[1] ?? 0);
  return (kb('Private_Clean') + kb('Private_Dirty')) / 1024;
}
