/**
 * The typed face of the native addon: the system calls that Node lacks. The only importer of the addon; the
 * functions add no behaviour of their own. Called by the supervisor, the core and (lookups only) the commands.
 * Failing calls throw a NativeError with `errno`; whoever can run into a slow disk or directory service gets a
 * callback from a thread of its own instead.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface Identity {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups, complete: they replace ours. */
  readonly groups: readonly number[];
}

export interface NativeSpawnPlan {
  readonly file: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  /** Entered after the identity switch, with the rights of the target user. */
  readonly cwd: string;
  /** undefined: keep ours (a supervisor without root). */
  readonly identity: Identity | undefined;
  readonly umask: number;
  /** `fds[i]` becomes the child's descriptor i; all others are closed. */
  readonly fds: readonly number[];
  /** Adds `LISTEN_PID=<pid of the child>` to the environment. */
  readonly listenPid: boolean;
  /** Signal for the child when the thread that called spawnProcess ends; 0 for none. */
  readonly deathSignal: number;
  /** Leaves set-uid and set-gid programs (sendmail, sudo) their effect; otherwise no_new_privs is set. */
  readonly mayGainPrivileges?: boolean;
  /** Descriptors that the child should be able to have at least, as far as we may allow it; undefined leaves its limits. */
  readonly openFiles?: number;
  readonly oomScoreAdj: number | undefined;
  /** A file that must be readable for the user just before exec; empty for none. */
  readonly mustRead: string;
}

/** The directory or file that the target user could not get through. */
export interface Obstacle {
  readonly path: string;
  /** st_mode; 0 when it could not be examined. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface SpawnFailure {
  /** Plain words: `chdir`, `setgroups`, `exec`, … */
  readonly step: string;
  readonly errno: number;
  readonly obstacle: Obstacle | undefined;
}

export interface SpawnedChild {
  readonly pid: number;
  readonly pidfd: number;
}

export interface UserFacts {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
}

export interface GroupFacts {
  readonly name: string;
  readonly gid: number;
}

/** What stands below an app root; of the thing itself, not of what a symlink points to. */
export interface StatFacts {
  /** 0, or why there are no facts about the file (ENOENT, ELOOP, EXDEV, …). */
  readonly errno: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeNs: bigint;
  readonly inode: bigint;
  /** The same for the root: 0 when it could be opened. */
  readonly rootErrno: number;
  readonly rootUid: number;
  readonly rootGid: number;
  readonly rootMode: number;
  /** The root's path without symlinks, empty when it could not be opened. */
  readonly rootPath: string;
}

export interface ExitFacts {
  readonly code?: number;
  readonly signal?: number;
}

export interface Receiver {
  /** Stops reading. The descriptor stays open; it may be closed after this returns. */
  close(): void;
}

/** How the addon's failures look: an Error with the number of the system. */
export interface NativeError extends Error {
  readonly errno: number;
  readonly syscall: string;
}

/** How a file that an app's user can touch is opened; see native/src/openings.h. */
export interface OpenOrder {
  /** Where a relative `file` begins. */
  readonly root: string;
  readonly file: string;
  /** For appending, made if missing; otherwise for reading. */
  readonly append: boolean;
  /** Whose rights count; undefined: our own. */
  readonly identity: Identity | undefined;
  /**
   * With our own rights, an absolute path only, and only below directories that root alone can change. A file that is
   * made belongs to the identity, if there is one.
   */
  readonly guarded: boolean;
  /** Groups whose members must not be able to change the directories on the way. */
  readonly distrusted: readonly number[];
}

/** The receiver owns `fd`; -1 when it could not be opened. */
export interface Opening {
  readonly fd: number;
  readonly errno: number;
  /** Plain words for the step that failed. */
  readonly why: string;
}

export interface Appended {
  readonly errno: number;
  /** Bytes that are in the file, also when the rest failed. */
  readonly written: number;
}

export interface ReadBytes {
  /** EFBIG when there are more than the limit. */
  readonly errno: number;
  readonly bytes: Buffer;
}

export interface LogWriterLine {
  /** For the system's log: level and facility as in <syslog.h>. */
  readonly priority: number;
  /** With its line end where it goes to a descriptor. */
  readonly text: string;
}

export interface LogWriter {
  /** Never waits. */
  push(priority: number, text: string): void;
  /** Bytes that are not written, and what their lines cost in memory beside them. */
  waiting(): number;
  /** Waits until all is written or a write has failed, at most `limitMs`; tells whether all is. */
  flush(limitMs: number): boolean;
  /** Ends the thread; gives back the lines of which nothing is on its way. */
  stop(): LogWriterLine[];
}

interface Addon {
  spawnProcess(plan: NativeSpawnPlan, done: (failure: SpawnFailure | undefined) => void): SpawnedChild;
  signalProcess(pidfd: number, signal: number): void;
  signalGroup(pid: number, signal: number): void;
  peekExit(pid: number): boolean;
  reap(pid: number): ExitFacts | undefined;
  listenUnix(path: string, options: ListenOptions): number;
  socketPair(type: 'stream' | 'seqpacket'): [number, number];
  pipe(): [number, number];
  closeFd(fd: number): void;
  setCloexec(fd: number, on: boolean): void;
  duplicateTo(from: number, to: number): void;
  duplicate(fd: number): number;
  receiveRecords(
    fd: number,
    maxBytes: number,
    onRecord: (bytes: Buffer, fds: number[]) => void,
    onEnd: (errno: number) => void,
  ): Receiver;
  sendRecord(fd: number, bytes: Buffer, fds: readonly number[]): boolean;
  peerCredentials(fd: number): PeerCredentials;
  acceptNext(fd: number): number;
  peerLeft(fd: number): boolean;
  widenSendBuffer(fd: number): void;
  discardPages(bytes: Buffer): void;
  sendBytes(fd: number, bytes: Buffer, start: number, end: number): number;
  lookupUser(who: string | number, done?: (user: UserFacts | undefined) => void): UserFacts | undefined;
  lookupGroup(who: string | number, done?: (group: GroupFacts | undefined) => void): GroupFacts | undefined;
  groupList(user: string, gid: number, done?: (groups: number[]) => void): number[];
  statBeneath(root: string, relative: string, done: (facts: StatFacts) => void, asMaker: boolean): void;
  openFile(order: OpenOrder, done: (opening: Opening) => void): void;
  appendBytes(fd: number, bytes: Buffer, done: (result: Appended) => void): void;
  readBytes(fd: number, limit: number, done: (result: ReadBytes) => void): void;
  setDumpable(on: boolean): void;
  startLogWriter(fd: number): LogWriter;
}

export interface ListenOptions {
  readonly backlog: number;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

function addonPath(): string {
  const file = path.join('native', 'build', 'Release', 'passenger_native.node');
  // From core/ (run by tsx) the package is one step up, from dist/core two.
  const places = [path.join(__dirname, '..', file), path.join(__dirname, '..', '..', file)];
  const found = places.find((place) => existsSync(place));
  if (found === undefined) {
    throw new Error(`the native addon is missing: ${places.join(' or ')} (npm run build:native)`);
  }
  return found;
}

let loaded: Addon | undefined;

function addon(): Addon {
  if (loaded === undefined) {
    const holder = { exports: {} as unknown };
    process.dlopen(holder, addonPath());
    loaded = holder.exports as Addon;
  }
  return loaded;
}

/**
 * Node 20 only warns about an exception in a callback of an addon's thread; thrown again from a turn of our own it
 * reaches `uncaughtException` like any other.
 */
function loudly(run: () => void): void {
  try {
    run();
  } catch (error) {
    setImmediate(() => {
      throw error;
    });
  }
}

/** Loads the addon now instead of at the first call; throws when it is missing. */
export function loadNative(): void {
  addon();
}

/**
 * Forks and executes. Returns as soon as the child exists; `done` hears, once, whether exec succeeded (undefined) or
 * which step failed. The child is to be reaped in both cases. The caller keeps its descriptors, also `pidfd`.
 */
export function spawnProcess(
  plan: NativeSpawnPlan,
  done: (failure: SpawnFailure | undefined) => void,
): SpawnedChild {
  return addon().spawnProcess(plan, (failure) => loudly(() => done(failure)));
}

/** Throws ESRCH when the process has been reaped. */
export function signalProcess(pidfd: number, signal: number): void {
  addon().signalProcess(pidfd, signal);
}

/** Signals the process group of a child of ours. Only while its leader is unreaped: later the number may be another's. */
export function signalGroup(pid: number, signal: number): void {
  addon().signalGroup(pid, signal);
}

/** Whether the child has ended; it stays a zombie until `reap`. */
export function peekExit(pid: number): boolean {
  return addon().peekExit(pid);
}

/** Takes the exit status; undefined when the child still runs. */
export function reap(pid: number): ExitFacts | undefined {
  return addon().reap(pid);
}

/** Binds and listens on a fresh socket file with exactly this owner and mode. EADDRINUSE when something is there. */
export function listenUnix(socketPath: string, options: ListenOptions): number {
  return addon().listenUnix(socketPath, options);
}

/** All descriptors that are made here are close-on-exec. */
export function socketPair(type: 'stream' | 'seqpacket'): [number, number] {
  return addon().socketPair(type);
}

/** [read end, write end] */
export function pipe(): [number, number] {
  return addon().pipe();
}

export function closeFd(fd: number): void {
  addon().closeFd(fd);
}

export function setCloexec(fd: number, on: boolean): void {
  addon().setCloexec(fd, on);
}

/** dup2, without close-on-exec. */
export function duplicateTo(from: number, to: number): void {
  addon().duplicateTo(from, to);
}

/** Another descriptor of the same open file, close-on-exec. */
export function duplicate(fd: number): number {
  return addon().duplicate(fd);
}

/**
 * Reads from a Unix socket on a thread: one call of `onRecord` for each record of a seqpacket socket, or for each
 * piece of a stream. The receiver of the call owns the descriptors. `onEnd` is the last call (errno 0: end of file).
 */
export function receiveRecords(
  fd: number,
  maxBytes: number,
  onRecord: (bytes: Buffer, fds: number[]) => void,
  onEnd: (errno: number) => void,
): Receiver {
  return addon().receiveRecords(
    fd,
    maxBytes,
    (bytes, fds) => loudly(() => onRecord(bytes, fds)),
    (errno) => loudly(() => onEnd(errno)),
  );
}

/**
 * Sends a whole record with duplicates of `fds` and never blocks: false when the socket is full and nothing was
 * sent. Throws (EPIPE, EMSGSIZE, …) when it can never be sent.
 */
export function sendRecord(fd: number, bytes: Buffer, fds: readonly number[] = []): boolean {
  return addon().sendRecord(fd, bytes, fds);
}

/** Takes a connection that waits on a listening socket that does not block; -1 when there is none, or none can be taken. */
export function acceptNext(fd: number): number {
  return addon().acceptNext(fd);
}

/**
 * Bytes `start` to `end` to a socket, as far as it takes them now. The count, or the negative errno (EAGAIN: it is
 * full); never throws, never waits.
 */
export function sendBytes(fd: number, bytes: Buffer, start: number, end: number): number {
  return addon().sendBytes(fd, bytes, start, end);
}

/** Whether the other end of a connected socket has closed, or will send no more; looks past unread bytes (poll). */
export function peerLeft(fd: number): boolean {
  return addon().peerLeft(fd);
}

/** Lets a connected socket hold twice the bytes of the system's default, as far as the system allows it. Never throws. */
export function widenSendBuffer(fd: number): void {
  addon().widenSendBuffer(fd);
}

/** Gives the whole pages of `bytes` back to the system. They read as zeros until they are written again. */
export function discardPages(bytes: Buffer): void {
  addon().discardPages(bytes);
}

export function peerCredentials(fd: number): PeerCredentials {
  return addon().peerCredentials(fd);
}

export function lookupUser(name: string): UserFacts | undefined {
  return addon().lookupUser(name);
}

export function lookupUid(uid: number): UserFacts | undefined {
  return addon().lookupUser(uid);
}

export function lookupGid(gid: number): GroupFacts | undefined {
  return addon().lookupGroup(gid);
}

/** The same three on a thread: a directory service may be slow. A number is looked up as uid or gid. */
export function findUser(who: string | number): Promise<UserFacts | undefined> {
  return new Promise((resolve) => addon().lookupUser(who, resolve));
}

export function findGroup(who: string | number): Promise<GroupFacts | undefined> {
  return new Promise((resolve) => addon().lookupGroup(who, resolve));
}

export function findGroupList(user: string, gid: number): Promise<number[]> {
  return new Promise((resolve) => addon().groupList(user, gid, resolve));
}

/**
 * What to do with a symlink below the root that leads out of it. `refused`: the last component is not followed at all;
 * `as its maker`: followed with the rights of its owner, never root's.
 */
export type WayOut = 'refused' | 'as its maker';

/**
 * Facts about `relative` below `root`, on a thread. The root may be reached through symlinks; below it no symlink may
 * leave it unless `wayOut` says so. An empty `relative` asks for the root itself.
 */
export function statBeneath(
  root: string,
  relative: string,
  wayOut: WayOut,
  done: (facts: StatFacts) => void,
): void {
  const asMaker = wayOut === 'as its maker';
  addon().statBeneath(root, relative, (facts) => loudly(() => done(facts)), asMaker);
}

/** Opens on a thread, with the rights of the identity for this file alone. Regular files and /dev/null only. */
export function openFile(order: OpenOrder): Promise<Opening> {
  return new Promise((resolve) => addon().openFile(order, resolve));
}

/** Appends on a thread of its own. The descriptor must stay open until then. */
export function appendBytes(fd: number, bytes: Buffer): Promise<Appended> {
  return new Promise((resolve) => addon().appendBytes(fd, bytes, resolve));
}

/** Reads a file to its end on a thread of its own, at most `limit` bytes. The descriptor must stay open until then. */
export function readBytes(fd: number, limit: number): Promise<ReadBytes> {
  return new Promise((resolve) => addon().readBytes(fd, limit, resolve));
}

/** Off: processes of the same uid can neither trace this one nor read its memory or environment. */
export function setDumpable(on: boolean): void {
  addon().setDumpable(on);
}

/**
 * Writes log lines on a thread of its own: to a duplicate of `fd`, or, if that is -1, to the system's log. A log that
 * takes no bytes holds up nobody; how much may wait is the caller's decision.
 */
export function startLogWriter(fd: number): LogWriter {
  return addon().startLogWriter(fd);
}
