/** The human-readable report of passenger-status. Pure: text from facts. Widths are Passenger's, which scripts parse. */

/** What GET /pool.json says, as far as the report needs it. Times are ISO 8601. */
export interface PoolView {
  readonly maxPoolSize: number;
  readonly groups: readonly GroupView[];
}

export interface GroupView {
  readonly name: string;
  readonly appRoot: string;
  readonly waiting: number;
  readonly spawning: number;
  readonly restarting: boolean;
  readonly processes: readonly ProcessLine[];
}

export interface ProcessLine {
  readonly pid: number;
  readonly state: string;
  readonly sessions: number;
  readonly processed: number;
  readonly startedAt: string;
  readonly lastUsedAt: string;
  readonly cpuPercent?: number;
  readonly residentBytes?: number;
}

export interface ReportHead {
  readonly version: string;
  readonly instance: string;
  readonly serverSoftware: string;
}

const UNITS = [
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
] as const;

/** `1d 2h 3m 4s`, from the largest unit that is not zero. */
export function duration(ms: number): string {
  let rest = Math.max(0, Math.floor(ms / 1000));
  let text = '';
  for (const [unit, size] of UNITS) {
    if (rest >= size || text !== '') text += `${Math.floor(rest / size)}${unit} `;
    rest %= size;
  }
  return `${text}${rest}s`;
}

/** `2026-11-20 23:14:28 +0000`, local time. */
export function dateText(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const offset = -date.getTimezoneOffset();
  const zone = `${two(Math.floor(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`;
  return `${day} ${time} ${offset < 0 ? '-' : '+'}${zone}`;
}

export function headText(head: ReportHead, now: Date): string {
  return `Version : ${head.version}
Date    : ${dateText(now)}
Instance: ${head.instance} (${head.serverSoftware})

`;
}

const STATE_NOTES: Readonly<Record<string, string>> = {
  draining: '    Draining...\n',
  stopping: '    Shutting down...\n',
};

function processText(process: ProcessLine, now: Date): string {
  const { pid, sessions, processed, cpuPercent, residentBytes } = process;
  const since = (time: string): string => duration(now.getTime() - Date.parse(time));
  const cpu = cpuPercent === undefined ? '?' : `${Math.round(cpuPercent)}%`;
  const memory = residentBytes === undefined ? '?' : `${Math.round(residentBytes / 2 ** 20)}M`;
  const column = (value: string | number, width: number): string => String(value).padEnd(width);
  return (
    `  * PID: ${column(pid, 5)}   Sessions: ${column(sessions, 2)}      ` +
    `Processed: ${column(processed, 5)}   Uptime: ${since(process.startedAt)}\n` +
    `    CPU: ${column(cpu, 5)}   Memory  : ${column(memory, 5)}   Last used: ${since(process.lastUsedAt)} ago\n` +
    (STATE_NOTES[process.state] ?? '')
  );
}

function groupText(group: GroupView, now: Date): string {
  const restarting = group.restarting ? '  (restarting...)\n' : '';
  const plural = group.spawning === 1 ? '' : 'es';
  const spawning = group.spawning > 0 ? `  (spawning ${group.spawning} new process${plural}...)\n` : '';
  return `${group.name}:
  App root: ${group.appRoot}
${restarting}${spawning}  Requests in queue: ${group.waiting}
${group.processes.map((process) => processText(process, now)).join('')}
`;
}

export function poolText(pool: PoolView, now: Date): string {
  const count = pool.groups.reduce((sum, { processes }) => sum + processes.length, 0);
  return `----------- General information -----------
Max pool size : ${pool.maxPoolSize}
App groups    : ${pool.groups.length}
Processes     : ${count}
Requests in top-level queue : 0

----------- Application groups -----------
${pool.groups.map((group) => groupText(group, now)).join('')}`;
}
