/** Which instance a command talks to, and the words when that is not clear. */
import { findInstances, registryDirectories, type Instance } from '../instance/instances.js';
import { CommandError } from './program.js';

function noneFound(directories: readonly string[]): CommandError {
  return new CommandError(`Passenger TS does not seem to be running: no instance was found in ${directories.join(', ')}.

An instance exists while Apache runs with the Passenger module. If it runs, look whether
 - Apache's PassengerInstanceRegistryDir names another directory: set PASSENGER_INSTANCE_REGISTRY_DIR to it;
 - Apache runs with a private /tmp (systemd's PrivateTmp): name a registry directory outside /tmp.`);
}

function describe({ name, supervisorPid, serverSoftware }: Instance): string {
  return `  ${name.padEnd(12)} ${String(supervisorPid).padEnd(8)} ${serverSoftware}`;
}

/**
 * The instance whose name is or begins with `wanted`, or the only one.
 * @throws CommandError when there is none, or more than one
 */
export function selectInstance(wanted: string | undefined, env: NodeJS.ProcessEnv): Instance {
  const directories = registryDirectories(env);
  const running = findInstances(directories);
  if (running.length === 0) throw noneFound(directories);
  const matching = running.filter(({ name }) => name.startsWith(wanted ?? ''));
  const [first] = matching;
  if (first !== undefined && matching.length === 1) return first;
  const list = (matching.length > 0 ? matching : running).map(describe).join('\n');
  const what =
    matching.length > 0
      ? 'Several instances are running'
      : `No instance has the name ${wanted}; these are running`;
  throw new CommandError(`${what}. Please name one of them:\n${list}`);
}
