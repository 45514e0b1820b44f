/** Questions to a running instance over its admin socket, and memory of all processes on the way of a request. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { join } from 'node:path';
import type { Apache } from '../support/apache.js';
import { apacheChildren, corePid, statusOf, supervisorPid } from './kit.js';

export function adminView<T>(apache: Apache, path: string): Promise<T> {
  const socketPath = join(apache.instanceDir(), 'core.d/admin.sock');
  return new Promise((resolve, reject) => {
    const ask = request({ socketPath, path, agent: false }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => resolve(JSON.parse(Buffer.concat(parts).toString()) as T));
      response.on('error', reject);
    });
    ask.on('error', reject);
    ask.end();
  });
}

interface GroupView {
  readonly waiting: number;
  readonly deployment: string;
  readonly deploymentFailure?: { readonly error: string };
  readonly processes: readonly {
    readonly pid?: number;
    readonly state: string;
    readonly sessions: number;
    readonly processed: number;
  }[];
}

interface Pool {
  readonly groups: readonly GroupView[];
}

/** The only app. */
export async function onlyGroup(apache: Apache): Promise<GroupView> {
  const { groups } = await adminView<Pool>(apache, '/pool.json');
  const [group] = groups;
  assert.ok(group !== undefined && groups.length === 1, `${groups.length} groups`);
  return group;
}

/** Pids of the only app's processes that take requests. */
export async function servingPids(apache: Apache): Promise<number[]> {
  const { processes } = await onlyGroup(apache);
  return processes.filter(({ state }) => state === 'ready').map(({ pid }) => pid ?? 0);
}

/** Looks again and again how many processes serve, until it is told to stop. */
export class ServingWatch {
  readonly #counts: number[] = [];
  #stopped = false;
  readonly #looking: Promise<void>;

  constructor(apache: Apache) {
    this.#looking = this.#look(apache);
  }

  async #look(apache: Apache): Promise<void> {
    while (!this.#stopped) {
      this.#counts.push((await servingPids(apache)).length);
      await new Promise((turn) => setTimeout(turn, 20));
    }
  }

  /** @returns the smallest and the largest number that it saw */
  async stop(): Promise<{ least: number; most: number }> {
    this.#stopped = true;
    await this.#looking;
    return { least: Math.min(...this.#counts), most: Math.max(...this.#counts) };
  }
}

/** Sessions that are checked out, of all apps. */
export async function openSessions(apache: Apache): Promise<number> {
  const pool = await adminView<Pool>(apache, '/pool.json');
  return pool.groups.flatMap(({ processes }) => processes).reduce((sum, { sessions }) => sum + sessions, 0);
}

/** The largest memory that a process ever had, in MB. */
function peakMb(pid: number): number {
  return Number.parseInt(statusOf(pid, 'VmHWM'), 10) / 1024;
}

/** Peak of each process: supervisor, core, Apache's children. The apps are somebody else's. */
export function peaks(apache: Apache): ReadonlyMap<string, number> {
  const all = new Map<string, number>();
  all.set('supervisor', peakMb(supervisorPid(apache)));
  all.set('core', peakMb(corePid(apache)));
  for (const pid of apacheChildren(apache)) all.set(`apache ${pid}`, peakMb(pid));
  return all;
}
