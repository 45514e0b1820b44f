/** What /proc says about processes: who descends from whom, and who is still there. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface ProcessInfo {
  readonly pid: number;
  readonly parent: number;
  readonly session: number;
  /** In ticks since boot: with the pid it names one process for good. */
  readonly startTime: number;
  /** Effective uid. */
  readonly uid: number;
  readonly title: string;
  /** Empty where we may not know. */
  readonly cwd: string;
}

function readCwd(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return ''; // another user's process, or gone
  }
}

type Kin = Pick<ProcessInfo, 'pid' | 'parent' | 'session' | 'startTime'>;

/** What one file tells; undefined when the process is gone or only waits to be reaped. */
function kinOf(pid: number): Kin | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return {
      pid,
      parent: Number(fields[1]),
      session: Number(fields[3]),
      startTime: Number(fields[19]),
    };
  } catch {
    return undefined; // ended while we looked
  }
}

/** One process, or undefined when it is gone or only waits to be reaped. */
export function processInfo(pid: number): ProcessInfo | undefined {
  const kin = kinOf(pid);
  if (kin === undefined) return undefined;
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const title = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      .replace(/\0+$/, '')
      .replaceAll('\0', ' ')
      .trim();
    return {
      ...kin,
      uid: Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? -1),
      title,
      cwd: readCwd(pid),
    };
  } catch {
    return undefined; // ended while we looked
  }
}

/** How long a process has run; the kernel counts in hundredths of a second. */
export function ageMs({ startTime }: ProcessInfo): number {
  return Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) * 1000 - startTime * 10;
}

function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

export function allProcesses(): ProcessInfo[] {
  return allPids()
    .map(processInfo)
    .filter((info) => info !== undefined);
}

/** Tests ask for these again and again: of the others no more is read than whose children they are. */
export function childrenOf(parent: number): ProcessInfo[] {
  return allPids()
    .map(kinOf)
    .filter((kin) => kin?.parent === parent)
    .map((kin) => processInfo(kin?.pid ?? 0))
    .filter((info) => info !== undefined);
}

/** 0 when it is gone. */
export function threadCount(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).length;
  } catch {
    return 0;
  }
}

/** `root`, its descendants, and everything in the sessions that they lead. */
export function familyOf(root: number): ProcessInfo[] {
  const all = allPids()
    .map(kinOf)
    .filter((kin) => kin !== undefined);
  const family = new Set([root]);
  for (let before = 0; before !== family.size;) {
    before = family.size;
    for (const { pid, parent, session } of all) {
      if (family.has(parent) || family.has(session)) family.add(pid);
    }
  }
  return all
    .filter(({ pid }) => family.has(pid))
    .map(({ pid }) => processInfo(pid))
    .filter((info) => info !== undefined);
}

export function stillRuns(info: ProcessInfo): boolean {
  return processInfo(info.pid)?.startTime === info.startTime;
}

/** What the descriptors of a process point to, for example `socket:[123]` or a path; empty when it is gone. */
export function descriptorsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch {
        return ''; // closed meanwhile
      }
    });
  } catch {
    return [];
  }
}
