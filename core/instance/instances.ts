/**
 * Finding the instances of this machine: directories `passenger.XXXXXXX` with a properties.json, which the supervisor
 * writes. Used by the command line tools; nothing here changes anything.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What properties.json says, as the supervisor wrote it. Times are ISO 8601. */
export interface InstanceProperties {
  readonly supervisorPid: number;
  readonly serverSoftware: string;
  readonly passengerRoot: string;
  readonly generation: number;
  readonly startedAt: string;
}

export interface Instance extends InstanceProperties {
  readonly directory: string;
  /** The random part of the directory's name. */
  readonly name: string;
}

const DIRECTORY_NAME = /^passenger\.([A-Za-z0-9]{7})$/;

/** Directories in which instances are looked for, in this order (environment first, as Passenger's tools do). */
export function registryDirectories(env: NodeJS.ProcessEnv): string[] {
  const own = env['PASSENGER_INSTANCE_REGISTRY_DIR'];
  if (own !== undefined && own !== '') return [own];
  const tmp = env['TMPDIR'];
  const list = ['/run/passenger', ...(tmp !== undefined && tmp !== '' ? [tmp] : []), '/tmp'];
  return [...new Set(list)];
}

/** A field that ought to be text or a number; anything else is as good as absent. */
function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

function readInstance(directory: string, name: string): Instance | undefined {
  try {
    const parsed: unknown = JSON.parse(readFileSync(join(directory, 'properties.json'), 'utf8'));
    if (typeof parsed !== 'object' || parsed === null) return undefined;
    const properties = parsed as Record<keyof InstanceProperties, unknown>;
    return {
      directory,
      name,
      supervisorPid: Number(textOf(properties.supervisorPid)),
      serverSoftware: textOf(properties.serverSoftware),
      passengerRoot: textOf(properties.passengerRoot),
      generation: Number(textOf(properties.generation)),
      startedAt: textOf(properties.startedAt),
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
    for (const entry of names) {
      const name = DIRECTORY_NAME.exec(entry)?.[1];
      const instance = name === undefined ? undefined : readInstance(join(registry, entry), name);
      if (instance !== undefined && isAlive(instance.supervisorPid)) found.push(instance);
    }
  }
  return found;
}
