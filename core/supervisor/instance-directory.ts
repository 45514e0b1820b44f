/**
 * The instance directory: made, checked, filled with the loaders, and removed. Root works in here where the core's
 * user owns two of the directories, so nothing below those is ever followed, listed recursively or chowned by path.
 */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, PassengerError } from '../base/errors.js';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, O_CREAT, O_EXCL, O_WRONLY } = fs.constants;

export interface InstanceOwner {
  /** undefined: keep ours (no root). */
  readonly core: { readonly uid: number; readonly gid: number } | undefined;
}

function refused(directory: string, why: string): PassengerError {
  return new PassengerError('PSG7003', { path: directory, why });
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code;
}

/** Makes the directory unless it is there; through the descriptor it gets its mode and owner, never by path. */
function makeDirectory(directory: string, mode: number, owner: InstanceOwner['core'], ours: number): void {
  try {
    fs.mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw refused(directory, errorText(error));
  }
  let fd: number;
  try {
    fd = fs.openSync(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  } catch (error) {
    throw refused(directory, errorText(error));
  }
  try {
    const { uid } = fs.fstatSync(fd);
    if (uid !== ours && uid !== owner?.uid) throw refused(directory, `owned by uid ${uid}`);
    fs.fchmodSync(fd, mode);
    if (owner !== undefined) fs.fchownSync(fd, owner.uid, owner.gid);
  } finally {
    fs.closeSync(fd);
  }
}

/** The registry may be shared (/tmp), but then only we may rename our entry in it. */
function checkRegistry(registry: string, ours: number): void {
  fs.mkdirSync(registry, { recursive: true, mode: 0o755 });
  const facts = fs.statSync(registry);
  if (facts.uid !== 0 && facts.uid !== ours) throw refused(registry, `owned by uid ${facts.uid}`);
  const shared = (facts.mode & 0o022) !== 0;
  if (shared && (facts.mode & 0o1000) === 0) throw refused(registry, 'writable by others and not sticky');
}

/** Entries of one directory only; a directory among them goes only if it is empty. Nothing is followed. */
function removeEntries(directory: string): void {
  for (const name of fs.readdirSync(directory)) {
    const entry = path.join(directory, name);
    try {
      fs.unlinkSync(entry);
    } catch {
      try {
        fs.rmdirSync(entry);
      } catch {
        // Not ours; the directory stays, and whoever removes it says so.
      }
    }
  }
}

function writeNew(file: string, content: Buffer | string): void {
  fs.rmSync(file, { force: true });
  const fd = fs.openSync(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644);
  try {
    fs.writeFileSync(fd, content);
    fs.fchmodSync(fd, 0o644);
  } finally {
    fs.closeSync(fd);
  }
}

export class InstanceDirectory {
  readonly coreDirectory: string;
  readonly appsDirectory: string;
  readonly loaders: string;
  readonly #ours = process.getuid?.() ?? 0;

  constructor(readonly root: string) {
    this.coreDirectory = path.join(root, 'core.d');
    this.appsDirectory = path.join(root, 'apps');
    this.loaders = path.join(root, 'loaders');
  }

  /** Makes all of it, or takes over what a supervisor before us left, and removes stale sockets. @throws PSG7003 */
  create(owner: InstanceOwner): void {
    try {
      checkRegistry(path.dirname(this.root), this.#ours);
      makeDirectory(this.root, 0o755, undefined, this.#ours);
      makeDirectory(this.coreDirectory, 0o700, owner.core, this.#ours);
      makeDirectory(this.appsDirectory, 0o700, owner.core, this.#ours);
      makeDirectory(this.loaders, 0o755, undefined, this.#ours);
      removeEntries(this.coreDirectory);
      removeEntries(this.appsDirectory);
    } catch (error) {
      throw error instanceof PassengerError ? error : refused(this.root, errorText(error));
    }
  }

  /** Copies the loaders, so that users of apps need no rights on the installation. @throws PSG7021 */
  copyLoaders(passengerRoot: string): void {
    const source = path.join(passengerRoot, 'core', 'loaders');
    try {
      removeEntries(this.loaders);
      for (const entry of fs.readdirSync(source, { withFileTypes: true })) {
        if (!entry.isFile()) continue;
        writeNew(path.join(this.loaders, entry.name), fs.readFileSync(path.join(source, entry.name)));
      }
    } catch (error) {
      throw new PassengerError('PSG7021', { path: source, why: errorText(error) });
    }
  }

  /** Tells the commands about this instance. */
  writeProperties(properties: Readonly<Record<string, unknown>>): void {
    writeNew(path.join(this.root, 'properties.json'), `${JSON.stringify(properties, null, 2)}\n`);
  }

  /** Returns whether nothing is left. */
  remove(): boolean {
    try {
      for (const directory of [this.coreDirectory, this.appsDirectory, this.loaders]) {
        removeEntries(directory);
        fs.rmdirSync(directory);
      }
      removeEntries(this.root);
      fs.rmdirSync(this.root);
      return true;
    } catch (error) {
      return isCode(error, 'ENOENT') && !fs.existsSync(this.root);
    }
  }
}
