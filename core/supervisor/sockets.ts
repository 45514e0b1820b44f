/**
 * The listening sockets of an instance: the core's two, which outlive every core, and one for each app process. All
 * belong to the core's user with mode 0600.
 */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, PassengerError } from '../base/errors.js';
import { listenUnix } from '../native.js';
import { malformed } from './records.js';
import type { InstanceDirectory } from './instance-directory.js';

const KEY = /^[A-Za-z0-9_-]{1,64}$/;

export interface SocketOwner {
  readonly uid: number;
  readonly gid: number;
}

/** Binds `file`, replacing a stale one. @throws PassengerError PSG7005 */
function bindFresh(file: string, owner: SocketOwner, backlog: number): number {
  try {
    fs.rmSync(file, { force: true });
    return listenUnix(file, { backlog, uid: owner.uid, gid: owner.gid, mode: 0o600 });
  } catch (error) {
    throw new PassengerError('PSG7005', { path: file, why: errorText(error) });
  }
}

export function bindCoreSockets(
  directory: InstanceDirectory,
  owner: SocketOwner,
  backlog: number,
): [core: number, admin: number] {
  return [
    bindFresh(path.join(directory.coreDirectory, 'core.sock'), owner, backlog),
    bindFresh(path.join(directory.coreDirectory, 'admin.sock'), owner, backlog),
  ];
}

/** @throws PassengerError PSG7002 for a key that is no plain name */
export function appSocketPath(directory: InstanceDirectory, key: string): string {
  if (!KEY.test(key)) throw malformed('key of a process');
  return path.join(directory.appsDirectory, `${key}.sock`);
}

export function bindAppSocket(file: string, owner: SocketOwner, backlog: number): number {
  return bindFresh(file, owner, backlog);
}

export function removeAppSocket(file: string): void {
  try {
    fs.unlinkSync(file);
  } catch {
    // Gone already.
  }
}
