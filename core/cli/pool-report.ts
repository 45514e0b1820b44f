/** The human-readable report of passenger-status. Pure: text from facts. Widths are Passenger's, which scripts parse. */

/** What GET /pool.json says (pool/snapshot.ts as JSON), as far as the report needs it. */
export interface PoolView {
  readonly maxPoolSize: number;
  readonly groups: readonly GroupView[];
}

export interface GroupView {
  readonly name: string;
  readonly appRoot: string;
  readonly waiting: number;
  readonly starting: number;
  /** It has no process, and the pool is full of others. */
  readonly starving?: boolean;
  readonly restarting: boolean;
  /** Number of the error that requests get while a pause after failures lasts; stays until a process is ready. */
  readonly failure?: string;
  /** What that number means. */
  readonly failureMessage?: string;
  /** 0 while the next try is under way. */
  readonly pauseMs: number;
  readonly failureDetails?: FailureDetails;
  /** Why the old code goes on serving after a restart. */
  readonly deploymentFailure?: {
    readonly error: string;
    readonly message: string;
    readonly details?: FailureDetails;
  };
  readonly processes: readonly ProcessLine[];
}

/**
 * What is known of a failure: `end` is how the last process ended; `exception`, or `exitCode` and `signal`, why a start
 * has failed.
 */
export type FailureDetails = Readonly<Record<string, unknown>>;

export interface ProcessLine {
  /** Absent while it starts. */
  readonly pid?: number;
  readonly state: string;
  readonly sessions: number;
  readonly processed: number;
  readonly uptimeMs: number;
  readonly idleMs: number;
  /** Since the app has given a sign of life; absent for programs that give none. */
  readonly silentMs?: number;
}

/** Load of a process in percent of one processor, and its memory; undefined when it is gone. */
export type FactsOf = (
  pid: number,
  uptimeMs: number,
) => { cpuPercent: number; residentBytes: number } | undefined;

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

function column(value: string | number, width: number): string {
  return String(value).padEnd(width);
}

function processText(process: ProcessLine, factsOf: FactsOf): string {
  const { pid, sessions, processed, uptimeMs, idleMs } = process;
  if (pid === undefined) return '';
  const facts = factsOf(pid, uptimeMs);
  const cpu = facts === undefined ? '?' : `${Math.round(facts.cpuPercent)}%`;
  const memory = facts === undefined ? '?' : `${Math.round(facts.residentBytes / 2 ** 20)}M`;
  return (
    `  * PID: ${column(pid, 5)}   Sessions: ${column(sessions, 2)}      ` +
    `Processed: ${column(processed, 5)}   Uptime: ${duration(uptimeMs)}\n` +
    `    CPU: ${column(cpu, 5)}   Memory  : ${column(memory, 5)}   Last used: ${duration(idleMs)} ago\n` +
    (STATE_NOTES[process.state] ?? '') +
    silenceNote(process)
  );
}

/** Loaders report every two seconds; twice that and more is worth a line. */
const SILENT_MS = 5000;

function silenceNote({ state, silentMs = 0 }: ProcessLine): string {
  return state === 'ready' && silentMs > SILENT_MS ? `    Not answering for ${duration(silentMs)}\n` : '';
}

/** ` (exit code 7)`: the reason in one line, where it is known. */
function reasonText({ end, exception, signal, exitCode }: FailureDetails): string {
  const exit = typeof exitCode === 'number' ? `exit code ${exitCode}` : undefined;
  const reason = [end, exception, signal, exit].find((text) => typeof text === 'string' && text !== '');
  return typeof reason === 'string' ? ` (${reason.split('\n', 1)[0] ?? ''})` : '';
}

/** The supervisor's sentence begins like the table's and goes on with the place. */
function sentenceOf(message: string | undefined, { detail }: FailureDetails): string | undefined {
  return typeof detail === 'string' && detail.startsWith(message ?? '') ? detail : message;
}

function failureNote({ failure, failureMessage, failureDetails = {}, pauseMs }: GroupView): string {
  if (failure === undefined) return '';
  const what = [failure, sentenceOf(failureMessage, failureDetails)]
    .filter((text) => text !== undefined)
    .join(' ');
  const why = `${what}${reasonText(failureDetails)}`;
  const wholeSeconds = Math.ceil(pauseMs / 1000) * 1000;
  return pauseMs > 0
    ? `  (paused after ${why}, next try in ${duration(wholeSeconds)})\n`
    : `  (last failure: ${why})\n`;
}

function resistanceNote({ deploymentFailure }: GroupView): string {
  if (deploymentFailure === undefined) return '';
  const { error, message, details = {} } = deploymentFailure;
  return `  (resisting a failed deployment: ${error} ${sentenceOf(message, details)}${reasonText(details)})\n`;
}

/** What the group is busy with; empty for a group that just serves. */
function groupNotes(group: GroupView): string {
  const { restarting, starting, starving } = group;
  const plural = starting === 1 ? '' : 'es';
  return [
    restarting ? '  (restarting...)\n' : '',
    starving === true ? '  (waiting for a place in the full pool)\n' : '',
    starting > 0 ? `  (spawning ${starting} new process${plural}...)\n` : '',
    resistanceNote(group),
    failureNote(group),
  ].join('');
}

function groupText(group: GroupView, factsOf: FactsOf): string {
  return `${group.name}:
  App root: ${group.appRoot}
${groupNotes(group)}  Requests in queue: ${group.waiting}
${group.processes.map((process) => processText(process, factsOf)).join('')}
`;
}

export function poolText(pool: PoolView, factsOf: FactsOf): string {
  const count = pool.groups
    .flatMap(({ processes }) => processes)
    .filter(({ pid }) => pid !== undefined).length;
  return `----------- General information -----------
Max pool size : ${pool.maxPoolSize}
App groups    : ${pool.groups.length}
Processes     : ${count}
Requests in top-level queue : 0

----------- Application groups -----------
${pool.groups.map((group) => groupText(group, factsOf)).join('')}`;
}
