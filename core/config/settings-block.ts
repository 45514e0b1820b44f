/**
 * The settings block of a REQUEST frame (core/wire/PROTOCOL.md) as a RequestConfig, and back for tests. Strict:
 * whatever the protocol does not name is a violation. Called once for each distinct block (settings-cache.ts).
 */
import { isUtf8 } from 'node:buffer';
import { PassengerError } from '../base/errors.js';
import { AppConfigs, FOUND_KINDS, type EnvEntry, type FoundKind, type RequestConfig } from './app-config.js';
import { DIRECTIVES } from './directives.js';
import { ExplicitValues } from './settings.js';
import { isSet } from './value.js';

const ENTRY_HEAD = 8;
const FLAG_VHOST_LEVEL = 0x01;

const TAG = {
  directive: 1,
  env: 2,
  appRoot: 3,
  baseUri: 4,
  documentRoot: 5,
  found: 6,
  startupFile: 7,
  serverName: 8,
} as const;

interface Entry {
  readonly tag: number;
  readonly flags: number;
  readonly id: number;
  readonly text: string;
  /** Where the entry starts in the block. */
  readonly offset: number;
}

function broken(reason: string, offset: number): PassengerError {
  return new PassengerError('PSG2001', { reason, offset });
}

function readEntry(block: Buffer, offset: number): Entry & { readonly end: number } {
  const start = offset + ENTRY_HEAD;
  if (start > block.length) throw broken('entry is cut off', offset);
  const end = start + block.readUInt32BE(offset + 4);
  if (end > block.length) throw broken('entry is cut off', offset);
  const bytes = block.subarray(start, end);
  if (!isUtf8(bytes)) throw broken('text is not UTF-8', offset);
  if (bytes.includes(0)) throw broken('text holds a NUL byte', offset);
  const [tag, flags, id] = [
    block.readUInt8(offset),
    block.readUInt8(offset + 1),
    block.readUInt16BE(offset + 2),
  ];
  return { tag, flags, id, text: bytes.toString('utf8'), offset, end };
}

/** Collects the entries of one block. */
class BlockContents {
  readonly values = new ExplicitValues();
  readonly env: EnvEntry[] = [];
  readonly #texts = new Map<number, string>();
  #lastTag = 0;
  #lastId = -1;

  add(entry: Entry): void {
    this.#checkOrder(entry);
    if (entry.tag === TAG.directive) this.#addDirective(entry);
    else if (entry.tag === TAG.env) this.#addEnv(entry);
    else this.#texts.set(entry.tag, entry.text);
  }

  #checkOrder({ tag, id, flags, offset }: Entry): void {
    if (tag < TAG.directive || tag > TAG.serverName) throw broken('unknown tag', offset);
    if (tag < this.#lastTag) throw broken('entries are out of order', offset);
    if (tag > TAG.env && tag === this.#lastTag) throw broken('entry is given twice', offset);
    if (tag !== TAG.directive && id !== 0) throw broken('id without a directive', offset);
    const legalFlags = tag === TAG.env ? FLAG_VHOST_LEVEL : 0;
    if ((flags & ~legalFlags) !== 0) throw broken('unknown flags', offset);
    this.#lastTag = tag;
  }

  #addDirective({ id, text, offset }: Entry): void {
    const row = DIRECTIVES[id];
    if (row === undefined) throw broken('no such directive', offset);
    if (id < this.#lastId) throw broken('entries are out of order', offset);
    const repeated = id === this.#lastId;
    this.#lastId = id;
    if (row.status === 'ignored') return;
    if (row.status !== 'supported' && row.status !== 'planned')
      throw broken('directive has no value', offset);
    if (row.scope === 'server') throw broken('directive of the server', offset);
    if (repeated && !isSet(row)) throw broken('entry is given twice', offset);
    this.values.add(row, text);
  }

  #addEnv({ text, flags, offset }: Entry): void {
    if (text.indexOf('=') < 1) throw broken('variable without a name', offset);
    this.env.push({ text, vhostLevel: flags === FLAG_VHOST_LEVEL });
  }

  text(tag: number): string {
    return this.#texts.get(tag) ?? '';
  }

  /** A path that has to be absolute where it is given. */
  path(tag: number): string {
    const text = this.text(tag);
    if (text !== '' && !text.startsWith('/')) throw broken(`entry ${tag} is not absolute`, 0);
    return text;
  }

  found(): FoundKind {
    const text = this.text(TAG.found);
    const kind = FOUND_KINDS.find((known) => known === text);
    if (kind === undefined) throw broken('unknown kind of app', 0);
    return kind;
  }
}

/**
 * @param configs gives equal apps the same AppConfig object
 * @throws PassengerError PSG2001 for a broken block, PSG2002 for an illegal value
 */
export function decodeSettingsBlock(block: Buffer, configs: AppConfigs = new AppConfigs()): RequestConfig {
  const contents = new BlockContents();
  for (let offset = 0; offset < block.length;) {
    const entry = readEntry(block, offset);
    contents.add(entry);
    offset = entry.end;
  }
  const appRoot = contents.path(TAG.appRoot);
  if (appRoot === '') throw broken('app root is missing', block.length);
  const baseUri = contents.path(TAG.baseUri);
  const facts = {
    appRoot,
    baseUri: baseUri === '' ? '/' : baseUri,
    documentRoot: contents.path(TAG.documentRoot),
    found: contents.found(),
    foundStartupFile: contents.text(TAG.startupFile),
    env: contents.env,
  };
  return Object.freeze({
    app: configs.get(facts, contents.values.settings('app')),
    request: contents.values.settings('request'),
    serverName: contents.text(TAG.serverName),
  });
}

/** What a test says about a block; everything but the app root may be left out. */
export interface SettingsBlockParts {
  /** Names of directives and canonical texts, in any order. */
  readonly directives?: readonly (readonly [name: string, text: string])[];
  readonly env?: readonly EnvEntry[];
  readonly appRoot: string;
  readonly baseUri?: string;
  readonly documentRoot?: string;
  readonly found?: FoundKind;
  readonly foundStartupFile?: string;
  readonly serverName?: string;
}

/** One entry, legal or not. */
export function encodeEntry(tag: number, flags: number, id: number, text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  const head = Buffer.alloc(ENTRY_HEAD);
  head.writeUInt8(tag, 0);
  head.writeUInt8(flags, 1);
  head.writeUInt16BE(id, 2);
  head.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([head, bytes]);
}

/** The block that the Apache module would send. */
export function encodeSettingsBlock(parts: SettingsBlockParts): Buffer {
  const directives = (parts.directives ?? [])
    .map(([name, text]) => ({ id: DIRECTIVES.findIndex((row) => row.name === name), text }))
    .sort((a, b) => a.id - b.id);
  const texts = new Map<number, string | undefined>([
    [TAG.appRoot, parts.appRoot],
    [TAG.baseUri, parts.baseUri ?? '/'],
    [TAG.documentRoot, parts.documentRoot],
    [TAG.found, parts.found],
    [TAG.startupFile, parts.foundStartupFile],
    [TAG.serverName, parts.serverName],
  ]);
  return Buffer.concat([
    ...directives.map(({ id, text }) => encodeEntry(TAG.directive, 0, id, text)),
    ...(parts.env ?? []).map(({ text, vhostLevel }) => encodeEntry(TAG.env, vhostLevel ? 1 : 0, 0, text)),
    ...[...texts].flatMap(([tag, text]) => (text === undefined ? [] : [encodeEntry(tag, 0, 0, text)])),
  ]);
}
