/**
 * A supervisor for tests, inside the test's own process: real forks, sockets and pipes by the native addon, no
 * identities, no channel. What it is asked is recorded, and single answers can be replaced.
 */
import { closeSync, mkdirSync, mkdtempSync, open, openSync, readlinkSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../../../core/base/clock.js';
import { Log, LogThreshold } from '../../../core/base/log.js';
import * as native from '../../../core/native.js';
import type { SupervisorLink } from '../../../core/spawn/supervisor-channel.js';
import { SupervisorSpawner, type SpawnerOptions } from '../../../core/spawn/supervisor-spawner.js';
import { buildLaunch } from '../../../core/supervisor/launch.js';
import type { FromCore, Message } from '../../../core/supervisor/messages.js';

const LOADERS = path.join(__dirname, '../../../core/loaders');

interface Child extends native.SpawnedChild {
  readonly key: string;
  readonly meta: Buffer;
  /** Kept for adoption: stdout, stderr, control. */
  readonly kept: readonly number[];
}

export class SmallSupervisor implements SupervisorLink {
  readonly asked: FromCore[] = [];
  readonly lines: string[] = [];
  readonly instanceDir = mkdtempSync(path.join(tmpdir(), 'psg-spawn-'));
  readonly children = new Map<number, Child>();
  /** Answers a start in place of a fork. */
  refuse: ((message: Message<'SPAWN'>) => Message<'SPAWN_FAILED'> | undefined) | undefined;
  /** Takes starts and never answers. */
  silent = false;
  /** The core hears nothing from the loaders of what it starts, as if it were dead: all is left to the one that adopts. */
  deaf = false;
  spawner: SupervisorSpawner;
  readonly #reaper: NodeJS.Timeout;
  readonly #unheard: number[] = [];

  constructor(t: TestContext) {
    mkdirSync(path.join(this.instanceDir, 'apps'));
    this.spawner = this.newSpawner();
    this.#reaper = setInterval(() => this.#reapAll(), 5);
    t.after(() => this.#end());
  }

  /** As a new core would have. */
  newSpawner(): SupervisorSpawner {
    const sink = {
      write: (level: string, room: string, text: string) =>
        void this.lines.push(`[${room}:${level}] ${text}`),
      writeLine: (line: string) => void this.lines.push(line),
    };
    const options: SpawnerOptions = {
      link: this,
      instanceDir: this.instanceDir,
      sink,
      log: new Log('spawn', sink, new LogThreshold(4)),
      clock: systemClock,
      prefixed: () => true,
      openLogFile: ({ appRoot, settings }) =>
        new Promise((resolve, reject) => {
          open(path.resolve(appRoot, settings.appLogFile), 'a', (error, fd) => {
            if (error === null) resolve(fd);
            else reject(error);
          });
        }),
      system: {
        append: native.appendBytes,
        pathOf: (fd) => readlinkSync(`/proc/self/fd/${fd}`),
        close: native.closeFd,
      },
    };
    return new SupervisorSpawner(options);
  }

  send(message: FromCore): void {
    this.asked.push(message);
    if (message.type === 'SIGNAL') this.#signal(message);
    if (message.type === 'SPAWN' && !this.silent) setImmediate(() => this.#spawn(message));
  }

  /** What the supervisor would tell a new core about a process, with duplicates of its descriptors. */
  adoption(pid: number): { message: Message<'ADOPT'>; fds: readonly number[] } {
    const child = this.children.get(pid);
    if (child === undefined) throw new Error('no such child');
    const message = { type: 'ADOPT', pid, key: child.key, meta: child.meta, spawnId: 1 } as const;
    return { message, fds: child.kept.map(duplicate) };
  }

  #spawn(message: Message<'SPAWN'>): void {
    const refusal = this.refuse?.(message);
    if (refusal !== undefined) return this.spawner.handle(refusal, []);
    const launch = buildLaunch(message, {
      user: undefined,
      rootPath: message.appRoot,
      loaders: LOADERS,
      node: process.execPath,
    });
    const socketPath = path.join(this.instanceDir, 'apps', `${message.key}.sock`);
    const uid = process.getuid?.() ?? 0;
    const gid = process.getgid?.() ?? 0;
    const listening = native.listenUnix(socketPath, { backlog: 128, uid, gid, mode: 0o600 });
    const [stdout, stdoutEnd] = native.pipe();
    const [stderr, stderrEnd] = native.pipe();
    const [control, controlEnd] = native.socketPair('stream');
    const [input, inputEnd] = native.pipe();
    const plan: native.NativeSpawnPlan = {
      ...launch,
      identity: undefined,
      umask: 0o22,
      fds: [input, stdoutEnd, stderrEnd, listening, controlEnd],
      listenPid: true,
      deathSignal: constants.signals.SIGKILL,
      oomScoreAdj: undefined,
    };
    const child = native.spawnProcess(plan, (failure) => {
      for (const fd of plan.fds) closeSync(fd);
      closeSync(inputEnd);
      if (failure !== undefined) throw new Error(`spawn failed at ${failure.step}: ${failure.errno}`);
      const kept = [stdout, stderr, control].map(duplicate);
      this.children.set(child.pid, { ...child, key: message.key, meta: message.meta, kept });
      if (this.deaf) closeSync(control);
      const fds = [stdout, stderr, this.deaf ? this.#nobodysEnd() : control];
      this.spawner.handle({ type: 'SPAWNED', spawnId: message.spawnId, pid: child.pid }, fds);
    });
  }

  /** A control connection on which nobody ever speaks. */
  #nobodysEnd(): number {
    const [ours, nobodys] = native.socketPair('stream');
    this.#unheard.push(nobodys);
    return ours;
  }

  #signal({ pid, signal, group }: Message<'SIGNAL'>): void {
    const child = this.children.get(pid);
    if (child === undefined) return;
    const number = constants.signals[signal as NodeJS.Signals];
    if (group === 1) native.signalGroup(pid, number);
    else native.signalProcess(child.pidfd, number);
  }

  #reapAll(): void {
    for (const [pid, child] of this.children) {
      if (!native.peekExit(pid)) continue;
      const facts = native.reap(pid);
      this.children.delete(pid);
      for (const fd of [...child.kept, child.pidfd]) closeSync(fd);
      const signal = Object.entries(constants.signals).find(([, number]) => number === facts?.signal)?.[0];
      this.spawner.handle({ type: 'EXITED', pid, code: facts?.code, signal }, []);
    }
  }

  #end(): void {
    clearInterval(this.#reaper);
    for (const fd of this.#unheard) closeSync(fd);
    for (const [pid, child] of this.children) {
      native.signalGroup(pid, constants.signals.SIGKILL);
      for (const fd of [...child.kept, child.pidfd]) closeSync(fd);
    }
    rmSync(this.instanceDir, { recursive: true, force: true });
  }
}

/** Another descriptor for the same thing. */
function duplicate(fd: number): number {
  const fresh = openSync('/dev/null', 'r');
  native.duplicateTo(fd, fresh);
  native.setCloexec(fresh, true);
  return fresh;
}
