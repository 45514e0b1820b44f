/**
 * What the core writes down about a process with the supervisor, so that the next core can take the process over:
 * JSON, opaque to the supervisor. Read back only by decodeProcessRecord, which refuses what it does not know.
 */
import { PassengerError } from '../base/errors.js';
import type { AppConfig } from '../config/app-config.js';
import { META_LIMIT, SPAWN_KINDS, type SpawnKind } from '../supervisor/messages.js';

const VERSION = 1;

export interface ProcessRecord {
  readonly kind: SpawnKind;
  /** Reload generation that `config` belongs to. */
  readonly generation: number;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  /** The port that the program was told, if any. */
  readonly port: number | undefined;
  /** Without `env` where the configuration is too large for a record: good for serving, not for starting another. */
  readonly config: AppConfig;
}

/** @param bytes room that the record may take */
export function encodeProcessRecord(record: ProcessRecord, bytes = META_LIMIT): Buffer {
  const full = render(record);
  return full.length <= bytes ? full : render({ ...record, config: { ...record.config, env: [] } });
}

function render(record: ProcessRecord): Buffer {
  return Buffer.from(JSON.stringify({ version: VERSION, ...record }));
}

/** Why a process that runs is ended instead of taken over. */
export function notAdoptable(pid: number, reason: string): PassengerError {
  return new PassengerError('PSG6014', { pid, reason });
}

/** @throws PassengerError PSG6014 */
export function decodeProcessRecord(bytes: Buffer, pid: number): ProcessRecord {
  const refuse = (reason: string): PassengerError => notAdoptable(pid, reason);
  let value: Partial<Record<string, unknown>>;
  try {
    value = JSON.parse(bytes.toString('utf8')) as Partial<Record<string, unknown>>;
  } catch {
    throw refuse('not JSON');
  }
  if (typeof value !== 'object' || value === null) throw refuse('not a record');
  if (value['version'] !== VERSION) throw refuse('another version');
  const { kind, generation, startedAt, port } = value;
  const known = SPAWN_KINDS.find((name) => name === kind);
  if (known === undefined || typeof generation !== 'number' || typeof startedAt !== 'number') {
    throw refuse('incomplete');
  }
  return {
    kind: known,
    generation,
    startedAt,
    port: typeof port === 'number' ? port : undefined,
    config: frozenConfig(value['config'], refuse),
  };
}

/** The config was frozen when it was written; JSON gives it back as it was, apart from that. */
function frozenConfig(value: unknown, refuse: (reason: string) => PassengerError): AppConfig {
  if (typeof value !== 'object' || value === null) throw refuse('no configuration');
  const config = value as AppConfig;
  const texts = [config.groupKey, config.groupName, config.appRoot, config.baseUri];
  const complete =
    texts.every((text) => typeof text === 'string') &&
    Array.isArray(config.env) &&
    typeof config.settings === 'object';
  if (!complete) throw refuse('incomplete configuration');
  Object.freeze(config.env);
  Object.freeze(config.settings);
  return Object.freeze(config);
}
