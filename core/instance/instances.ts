/**
 * Finding the instances of this machine: directories `passenger.XXXXXXX` with a properties.json, which the supervisor
 * writes. Used by the command line tools; nothing here changes anything.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What properties.json says. Times are ISO 8601. */
export interface InstanceProperties {
  readonly name: string;
  readonly instanceId: string;
  readonly supervisorPid: number;
  readonly serverSoftware: string;
  readonly version: string;
  readonly createdAt: string;
}

export interface Instance extends InstanceProperties {
  readonly directory: string;
}

const DIRECTORY_NAME = /^passenger\.[A-Za-z0-9]{7}$/;

/** Directories in which instances are looked for, in this order (environment first, as Passenger's tools do). */
export function registryDirectories(env: NodeJS.ProcessEnv): string[] {
  const own = env['PASSENGER_INSTANCE_REGISTRY_DIR'];
  if (own !== undefined && own !== '') return [own];
  const tmp = env['TMPDIR'];
  const list = ['/run/passenger', ...(tmp !== undefined && tmp !== '' ? [tmp] : []), '/tmp'];
  return [...new Set(list)];
}

function readProperties(directory: string): Instance | undefined {
  try {
    const parsed: unknown = JSON.parse(readFileSync(join(directory, 'properties.json'), 'utf8'));
    if (typeof parsed !== 'object' || parsed === null) return undefined;
    const text = (key: string): string => String((parsed as Record<string, unknown>)[key] ?? '');
    return {
      directory,
      name: text('name'),
      instanceId: text('instanceId'),
      supervisorPid: Number(text('supervisorPid')),
      serverSoftware: text('serverSoftware'),
      version: text('version'),
      createdAt: text('createdAt'),
    };
  } catch {
    // Not finished yet, gone meanwhile, or not ours: then it is no instance.
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** All running instances of the given registry directories. */
export function findInstances(directories: readonly string[]): Instance[] {
  const found: Instance[] = [];
  for (const registry of directories) {
    let names: string[] = [];
    try {
      names = readdirSync(registry);
    } catch {
      // A registry directory that does not exist holds no instances.
    }
    for (const name of names.filter((entry) => DIRECTORY_NAME.test(entry))) {
      const instance = readProperties(join(registry, name));
      if (instance !== undefined && isAlive(instance.supervisorPid)) found.push(instance);
    }
  }
  return found;
}
