/** Questions to a running instance over its admin socket, and memory of all processes on the way of a request. */
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

interface Pool {
  readonly groups: readonly {
    readonly waiting: number;
    readonly processes: readonly { readonly sessions: number }[];
  }[];
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
