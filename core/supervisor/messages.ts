/**
 * The vocabulary between Apache's parent, supervisor and core: each kind of record with its fields, for both ends.
 * Types are inferred from the one table. Pure: no descriptor is touched here. Unknown kinds, unknown or repeated
 * tags, missing fields and wrong sizes are refused, so that the root process only ever sees complete messages.
 */
import {
  CHANNEL_LIMIT,
  CONTROL_LIMIT,
  decodeRecord,
  encodeRecord,
  malformed,
  type RawField,
  type RawRecord,
} from './records.js';

/** One value on the wire; `?` may be absent (undefined), `[]` may be repeated. A pair is `name NUL value`. */
interface WireTypes {
  u32: number;
  u64: bigint;
  text: string;
  bytes: Buffer;
  'u32?': number | undefined;
  'text?': string | undefined;
  'bytes?': Buffer | undefined;
  'text[]': readonly string[];
  'pair[]': readonly (readonly [string, string])[];
}
type WireType = keyof WireTypes;
type FieldTable = Readonly<Record<string, readonly [tag: number, type: WireType]>>;
interface MessageRow {
  readonly kind: number;
  readonly limit: number;
  readonly fields: FieldTable;
}

export const MESSAGES = {
  /** Apache → supervisor: everything the configuration says, at start and at each reload. */
  CONFIG: {
    kind: 1,
    limit: CONTROL_LIMIT,
    fields: {
      generation: [1, 'u32'],
      secret: [2, 'bytes'],
      instanceDir: [3, 'text'],
      passengerRoot: [4, 'text'],
      coreUid: [5, 'u32'],
      coreGid: [6, 'u32'],
      coreUser: [7, 'text'],
      serverSoftware: [8, 'text'],
      settings: [9, 'pair[]'],
      privileged: [10, 'pair[]'],
      errorLog: [11, 'text'],
      tableHash: [12, 'bytes'],
      maxRequestWorkers: [13, 'u32'],
    },
  },
  /** Apache → supervisor. */
  STOP: { kind: 2, limit: CONTROL_LIMIT, fields: {} },
  /** Supervisor → Apache: the core serves this generation. */
  STARTED: { kind: 16, limit: CONTROL_LIMIT, fields: { generation: [1, 'u32'] } },
  /** Supervisor → Apache. */
  FAILED: { kind: 17, limit: CONTROL_LIMIT, fields: { code: [1, 'text'], sentence: [2, 'text'] } },

  /** Supervisor → core: the part of CONFIG that the core may know. */
  CORE_CONFIG: {
    kind: 32,
    limit: CHANNEL_LIMIT,
    fields: {
      generation: [1, 'u32'],
      secret: [2, 'bytes'],
      instanceDir: [3, 'text'],
      passengerRoot: [4, 'text'],
      serverSoftware: [8, 'text'],
      settings: [9, 'pair[]'],
      errorLog: [11, 'text'],
      tableHash: [12, 'bytes'],
      maxRequestWorkers: [13, 'u32'],
    },
  },
  /** One for each running process, before START; descriptors: stdout, stderr, control. */
  ADOPT: {
    kind: 33,
    limit: CHANNEL_LIMIT,
    fields: { pid: [1, 'u32'], key: [2, 'text'], meta: [3, 'bytes'], spawnId: [4, 'u32'] },
  },
  START: { kind: 34, limit: CHANNEL_LIMIT, fields: {} },
  /** exec succeeded; descriptors: stdout, stderr, control. */
  SPAWNED: { kind: 35, limit: CHANNEL_LIMIT, fields: { spawnId: [1, 'u32'], pid: [2, 'u32'] } },
  SPAWN_FAILED: {
    kind: 36,
    limit: CHANNEL_LIMIT,
    fields: {
      spawnId: [1, 'u32'],
      code: [2, 'text'],
      step: [3, 'text'],
      errno: [4, 'u32'],
      detail: [5, 'text'],
    },
  },
  EXITED: {
    kind: 37,
    limit: CHANNEL_LIMIT,
    fields: { pid: [1, 'u32'], code: [2, 'u32?'], signal: [3, 'text?'] },
  },
  STAT_RESULT: {
    kind: 38,
    limit: CHANNEL_LIMIT,
    fields: {
      requestId: [1, 'u32'],
      exists: [2, 'u32'],
      mtimeNs: [3, 'u64'],
      inode: [4, 'u64'],
      errno: [5, 'u32'],
    },
  },
  /** Resident size of one process in bytes; 0 for one that is none of ours. */
  MEMORY_RESULT: { kind: 42, limit: CHANNEL_LIMIT, fields: { pid: [1, 'u32'], bytes: [2, 'u64'] } },
  /** Drain and exit. Not to be confused with STOP on the control socket. */
  CORE_STOP: { kind: 39, limit: CHANNEL_LIMIT, fields: { deadlineMs: [1, 'u32'] } },
  /** Descriptor: the file, where errno is 0. */
  OPENED: {
    kind: 40,
    limit: CHANNEL_LIMIT,
    fields: {
      requestId: [1, 'u32'],
      errno: [2, 'u32'],
      /** What did not work, in plain words. */
      why: [3, 'text'],
    },
  },
  /** Where the lines of the core go from now on; descriptor: PassengerLogFile, opened anew. */
  LOG: { kind: 41, limit: CHANNEL_LIMIT, fields: {} },

  /** Core → supervisor. */
  READY: { kind: 64, limit: CHANNEL_LIMIT, fields: {} },
  HEARTBEAT: { kind: 65, limit: CHANNEL_LIMIT, fields: {} },
  SPAWN: {
    kind: 66,
    limit: CHANNEL_LIMIT,
    fields: {
      spawnId: [1, 'u32'],
      appRoot: [2, 'text'],
      /** Relative to the app root; empty for commands. */
      startupFile: [3, 'text'],
      /** One of SPAWN_KINDS. */
      kind: [4, 'text'],
      user: [5, 'text'],
      group: [6, 'text'],
      /** Empty for the default. */
      nodejs: [7, 'text'],
      startCommand: [8, 'text'],
      /** Complete, except what comes from passwd: HOME USER LOGNAME SHELL PWD LISTEN_*. */
      env: [9, 'text[]'],
      /** The subset that wins over the login shell's own. */
      winningEnv: [10, 'text[]'],
      loadShellEnvvars: [11, 'u32'],
      /** Given back with ADOPT, opaque to the supervisor. */
      meta: [12, 'bytes'],
      /** Whose owner decides the identity, relative to the app root; empty: the app root itself. */
      referenceFile: [13, 'text'],
      meteorAppSettings: [14, 'text'],
      appEnv: [15, 'text'],
      /** Name of the process's socket: `apps/<key>.sock`. */
      key: [16, 'text'],
      /** Empty (the default: on), or `off`. */
      noNewPrivileges: [17, 'text'],
    },
  },
  SIGNAL: {
    kind: 67,
    limit: CHANNEL_LIMIT,
    fields: { pid: [1, 'u32'], signal: [2, 'text'], group: [3, 'u32'] },
  },
  STAT: {
    kind: 68,
    limit: CHANNEL_LIMIT,
    fields: {
      requestId: [1, 'u32'],
      appRoot: [2, 'text'],
      /** One of STAT_QUESTIONS. */
      question: [3, 'text'],
      /** The restart directory (relative to the app root, or absolute), or the startup file. */
      place: [4, 'text'],
    },
  },
  /** Opens a file with the rights of an app's user. The file stands in the configuration (PRIVILEGED). */
  OPEN: {
    kind: 69,
    limit: CHANNEL_LIMIT,
    fields: {
      requestId: [1, 'u32'],
      appRoot: [2, 'text'],
      /** One of OPEN_PURPOSES. */
      purpose: [3, 'text'],
      /** Absolute, or relative to the app root. */
      file: [4, 'text'],
      user: [5, 'text'],
      group: [6, 'text'],
      /** As for SPAWN. */
      referenceFile: [7, 'text'],
    },
  },
  /** For a core that may not look into /proc itself. */
  MEMORY: { kind: 70, limit: CHANNEL_LIMIT, fields: { pid: [1, 'u32'] } },
  /** Of a core that ends: errors and warnings that its log did not take in time, and how many other lines. */
  LAST_WORDS: { kind: 71, limit: CHANNEL_LIMIT, fields: { lines: [1, 'text[]'], lost: [2, 'u32'] } },
} as const satisfies Readonly<Record<string, MessageRow>>;

export const SPAWN_KINDS = ['node', 'command', 'meteor', 'detect'] as const;
export type SpawnKind = (typeof SPAWN_KINDS)[number];
export const STAT_QUESTIONS = ['restart.txt', 'always_restart.txt', 'startup'] as const;
export type StatQuestion = (typeof STAT_QUESTIONS)[number];
/** To append the app's lines, or to read what visitors see. */
export const OPEN_PURPOSES = ['log', 'page'] as const;
export type OpenPurpose = (typeof OPEN_PURPOSES)[number];
export const SIGNALS = ['SIGTERM', 'SIGKILL', 'SIGABRT', 'SIGINT'] as const;
export type SignalName = (typeof SIGNALS)[number];
export const META_LIMIT = 32 * 1024;

export type MessageType = keyof typeof MESSAGES;
type FieldsOf<T extends MessageType> = {
  readonly [
    Name in keyof (typeof MESSAGES)[T]['fields']
  ]: (typeof MESSAGES)[T]['fields'][Name] extends readonly [number, infer Type extends WireType]
    ? WireTypes[Type]
    : never;
};
/** A message of type T: `type` and its fields. */
export type Message<T extends MessageType = MessageType> = T extends MessageType
  ? { readonly type: T } & FieldsOf<T>
  : never;

function encodeValue(type: WireType, value: unknown): Buffer[] {
  if (value === undefined) return [];
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return [bytes];
  }
  if (typeof value === 'bigint') {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(value);
    return [bytes];
  }
  if (Buffer.isBuffer(value)) return [value];
  if (typeof value === 'string') return [Buffer.from(value)];
  if (type === 'pair[]') {
    return (value as WireTypes['pair[]']).map(([name, text]) => Buffer.from(`${name}\0${text}`));
  }
  return (value as readonly string[]).map((text) => Buffer.from(text));
}

/** @throws PassengerError PSG7001 when the message is longer than its socket allows */
export function encodeMessage<T extends MessageType>(message: Message<T>): Buffer {
  const row: MessageRow = MESSAGES[message.type];
  const values = message as Readonly<Record<string, unknown>>;
  const fields: RawField[] = [];
  for (const [name, [tag, type]] of Object.entries(row.fields)) {
    for (const bytes of encodeValue(type, values[name])) fields.push({ tag, bytes });
  }
  return encodeRecord({ kind: row.kind, fields }, row.limit);
}

function decodeText(bytes: Buffer): string {
  if (bytes.includes(0)) throw malformed('NUL in a text');
  return bytes.toString('utf8');
}

function decodePair(bytes: Buffer): readonly [string, string] {
  const at = bytes.indexOf(0);
  if (at < 1) throw malformed('pair without a name');
  return [bytes.toString('utf8', 0, at), decodeText(bytes.subarray(at + 1))];
}

function decodeOne(type: string, bytes: Buffer): unknown {
  switch (type) {
    case 'u32':
      if (bytes.length !== 4) throw malformed('number of wrong size');
      return bytes.readUInt32BE(0);
    case 'u64':
      if (bytes.length !== 8) throw malformed('number of wrong size');
      return bytes.readBigUInt64BE(0);
    case 'text':
      return decodeText(bytes);
    case 'pair':
      return decodePair(bytes);
    default:
      // A copy: the record's memory is not kept alive by a few bytes of it.
      return Buffer.from(bytes);
  }
}

function decodeField(type: WireType, values: readonly Buffer[]): unknown {
  if (type.endsWith('[]')) return values.map((bytes) => decodeOne(type.slice(0, -2), bytes));
  const [first, ...rest] = values;
  if (rest.length > 0) throw malformed('field repeated');
  if (first !== undefined) return decodeOne(type.replace('?', ''), first);
  if (type.endsWith('?')) return undefined;
  throw malformed('field missing');
}

/** The row with this number, among the types that the reader may receive at all. */
function rowOfKind<T extends MessageType>(kind: number, allowed: readonly T[]): T {
  const type = allowed.find((name) => MESSAGES[name].kind === kind);
  if (type === undefined) throw malformed(`unexpected kind ${kind}`);
  return type;
}

/**
 * Turns a record into a message, of one of the `allowed` types only.
 * @throws PassengerError PSG7002
 */
export function decodeMessage<T extends MessageType>(raw: RawRecord, allowed: readonly T[]): Message<T> {
  const type = rowOfKind(raw.kind, allowed);
  const table: FieldTable = MESSAGES[type].fields;
  const byTag = new Map<number, Buffer[]>();
  for (const { tag, bytes } of raw.fields) {
    const known = byTag.get(tag);
    if (known === undefined) byTag.set(tag, [bytes]);
    else known.push(bytes);
  }
  const message: Record<string, unknown> = { type };
  for (const [name, [tag, wireType]] of Object.entries(table)) {
    message[name] = decodeField(wireType, byTag.get(tag) ?? []);
    byTag.delete(tag);
  }
  if (byTag.size > 0) throw malformed('unknown tag');
  return message as Message<T>;
}

/** For one whole record in one buffer, as a seqpacket socket delivers it. */
export function decodeBytes<T extends MessageType>(bytes: Buffer, allowed: readonly T[]): Message<T> {
  return decodeMessage(decodeRecord(bytes, CHANNEL_LIMIT), allowed);
}

export const TO_CORE = [
  'CORE_CONFIG',
  'ADOPT',
  'START',
  'SPAWNED',
  'SPAWN_FAILED',
  'EXITED',
  'STAT_RESULT',
  'MEMORY_RESULT',
  'CORE_STOP',
  'OPENED',
  'LOG',
] as const;
export const FROM_CORE = [
  'READY',
  'HEARTBEAT',
  'SPAWN',
  'SIGNAL',
  'STAT',
  'MEMORY',
  'OPEN',
  'LAST_WORDS',
] as const;
export const FROM_APACHE = ['CONFIG', 'STOP'] as const;
export const TO_APACHE = ['STARTED', 'FAILED'] as const;
export type ToCore = Message<(typeof TO_CORE)[number]>;
export type FromCore = Message<(typeof FROM_CORE)[number]>;
export type FromApache = Message<(typeof FROM_APACHE)[number]>;
export type ToApache = Message<(typeof TO_APACHE)[number]>;
