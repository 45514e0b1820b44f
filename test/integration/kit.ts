/**
 * The words that the integration and fault tests share: a rule (one test with a private Apache and the audit behind
 * it), a site (virtual host over a copied fixture app), and questions about the processes of an instance. Thin:
 * starting and auditing is test/support's business.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Apache, type ApacheOptions, type VirtualHost } from '../support/apache.js';
import { copyApp } from '../support/apps.js';
import { integrationTest } from '../support/audit.js';
import { eventually } from '../support/eventually.js';
import { childrenOf, processInfo } from '../support/processes.js';

/** One test: what it starts is stopped and audited when the body has returned. */
export class Scene {
  constructor(readonly title: string) {}

  start(options: ApacheOptions): Promise<Apache> {
    return Apache.start(this.title, options);
  }

  /** Apache with one virtual host `a.test` over a copy of the fixture app. */
  async serve(
    appName: string,
    config = '',
    options: Partial<ApacheOptions> & { owner?: string } = {},
  ): Promise<{ apache: Apache; app: string }> {
    const { owner, ...rest } = options;
    const app = await this.app(appName, owner);
    const apache = await this.start({ vhosts: [site('a.test', app, config)], ...rest });
    return { apache, app };
  }

  app(name: string, owner = 'psgapp1'): Promise<string> {
    return copyApp(name, { owner });
  }
}

export function site(name: string, appRoot: string, config = ''): VirtualHost {
  return { name, documentRoot: `${appRoot}/public`, config };
}

export interface RuleOptions {
  /** Needs real users, or signals to their processes: skipped with a reason when not root. */
  readonly root?: boolean;
  readonly skip?: string | false;
  readonly timeoutMs?: number;
}

/** Skips tests of a registry package as long as test set-up has not installed it. */
export function needsPackage(name: string): string | false {
  const apps = process.env['PSG_TEST_APPS'] ?? resolve(__dirname, '../apps');
  return existsSync(join(apps, 'node_modules', name))
    ? false
    : `needs the npm packages of test/apps (${name})`;
}

export function rule(title: string, options: RuleOptions, body: (scene: Scene) => Promise<void>): void {
  integrationTest(title, options, () => body(new Scene(title)));
}

export function corePid(apache: Apache): number {
  return onlyOne(apache, 'Passenger core');
}

export function supervisorPid(apache: Apache): number {
  return onlyOne(apache, 'Passenger supervisor');
}

function onlyOne(apache: Apache, title: string): number {
  const found = apache.processes().filter((process) => process.title.startsWith(title));
  assert.equal(found.length, 1, `exactly one "${title}": ${JSON.stringify(apache.processes())}`);
  return found[0]?.pid ?? 0;
}

/** Pids of app processes, of one app root or of all. */
export function appPids(apache: Apache, appRoot = ''): number[] {
  return apache
    .processes()
    .filter((process) => process.title.startsWith(`Passenger NodeApp: ${appRoot}`))
    .map((process) => process.pid);
}

/** Pids of Apache's children that serve requests. */
export function apacheChildren(apache: Apache): number[] {
  return childrenOf(apache.pid)
    .filter(({ title }) => title.includes('apache2'))
    .map(({ pid }) => pid);
}

export function alive(pid: number): boolean {
  return processInfo(pid) !== undefined;
}

/** A field of /proc/PID/status, white space single. */
export function statusOf(pid: number, field: string): string {
  const line = readFileSync(`/proc/${pid}/status`, 'latin1')
    .split('\n')
    .find((candidate) => candidate.startsWith(`${field}:`));
  return (line ?? '')
    .slice(field.length + 1)
    .trim()
    .replace(/\s+/g, ' ');
}

export function rssKb(pid: number): number {
  return Number.parseInt(statusOf(pid, 'VmRSS'), 10);
}

export function fdCount(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

export async function logLine(apache: Apache, pattern: RegExp, deadlineMs = 5000): Promise<string> {
  return eventually(deadlineMs, `a log line that matches ${String(pattern)}`, () =>
    apache
      .log()
      .split('\n')
      .find((line) => pattern.test(line)),
  );
}

/** What the probe reports of itself under /status. */
export interface ProbeFacts {
  readonly proc: Record<string, string>;
  readonly fds: Record<string, string>;
  readonly umask: string;
  readonly cwd: string;
  readonly argv: string[];
  readonly title: string;
  readonly cmdline: string[];
  readonly pid: number;
  readonly ppid: number;
  readonly pgid: number;
  readonly sid: number;
  readonly isMain: boolean;
}

/** What the probe reports of a request under /headers, /url and /any/…. */
export interface ProbeRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Record<string, string | undefined>;
  readonly raw: string[];
}
