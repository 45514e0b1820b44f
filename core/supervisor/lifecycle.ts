/**
 * The life of the supervisor: first configuration → running → reloads → stop. Wires the parts together; each event
 * of the outside (control socket, signals, one tick a second) enters here.
 */
import fs from 'node:fs';
import { constants } from 'node:os';
import { crash } from '../base/crash.js';
import { PassengerError } from '../base/errors.js';
import { Log, LogThreshold } from '../base/log.js';
import { systemClock, type Clock } from '../base/clock.js';
import { closeFd, findGroupList, type ExitFacts, type Identity } from '../native.js';
import { Configuration } from './configuration.js';
import { ControlSocket } from './control.js';
import { CoreProcess, LIMITS } from './core-process.js';
import { InstanceDirectory } from './instance-directory.js';
import { heardWords } from './last-words.js';
import { ErrorLog, LAST_LINES_MS } from './logs.js';
import type { FromApache, Message } from './messages.js';
import { protectFromOomKiller } from './oom.js';
import { ProcessTable, signalName, type AppProcess } from './processes.js';
import { describeFailure, RequestHandler } from './requests.js';
import { ServerLog } from './server-log.js';
import { bindCoreSockets, removeAppSocket } from './sockets.js';

const STOP_CORE_MS = 10_000;
const STOP_APPS_MS = 2_000;
const POLL_MS = 20;
/** Exit code: another start with the same configuration would fail too (EX_CONFIG of sysexits). */
const FAILED_START = 78;

/** What is no expected failure ends the process, with its stack, at the top. */
function unexpected(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}

/** Everything that exists once the first configuration was accepted. */
interface Running {
  readonly directory: InstanceDirectory;
  readonly core: CoreProcess;
  readonly requests: RequestHandler;
}

export class Supervisor {
  readonly #logs = new ErrorLog('supervisor');
  readonly #logFile: ServerLog;
  readonly #threshold = new LogThreshold();
  readonly #log = new Log('supervisor', this.#logs, this.#threshold);
  readonly #nullFd = fs.openSync('/dev/null', fs.constants.O_RDWR);
  readonly #uid = process.getuid?.() ?? 0;
  readonly #control: ControlSocket;
  readonly #processes: ProcessTable;
  #configuration: Configuration | undefined;
  #running: Running | undefined;
  #stopping = false;
  /** Configurations are worked off one after the other. */
  #work: Promise<void> = Promise.resolve();

  constructor(
    controlFd: number,
    private readonly exit: (code: number) => void,
    private readonly clock: Clock = systemClock,
  ) {
    this.#processes = new ProcessTable(
      {
        running: (app) => this.#appRunning(app),
        failed: (app, failure) => {
          removeAppSocket(app.socketFile);
          if (app.epoch === this.#running?.core.epoch)
            this.#running.requests.refuse(app.spawnId, describeFailure(failure, app.program));
        },
        exited: (app, facts, release) => this.#appExited(app, facts, release),
      },
      this.#log,
    );
    this.#logFile = new ServerLog(this.#logs, this.#log, (fd) =>
      this.#running?.core.send({ type: 'LOG' }, [fd]),
    );
    this.#control = new ControlSocket(controlFd, {
      onMessage: (message, fds) => this.#fromApache(message, fds),
      onEnd: (problem) => {
        if (problem !== undefined) this.#log.info('control socket broke', { why: problem.message });
        this.stop('Apache has gone');
      },
    });
  }

  #fromApache(message: FromApache, fds: number[]): void {
    if (message.type === 'STOP') {
      fds.forEach(closeFd);
      this.stop('Apache asked for it');
      return;
    }
    this.#work = this.#work
      .then(() => this.#configure(message, fds))
      .catch((error: unknown) => this.#fail(error));
  }

  #fail(error: unknown): void {
    if (!(error instanceof PassengerError)) return unexpected(error);
    this.#log.report(error.code, error.details);
    this.#control.send({ type: 'FAILED', code: error.code, sentence: error.row.message });
    // A reload that was refused leaves the old configuration in force; a first start has nothing to go on with.
    if (error.code !== 'PSG7024') this.stop('start failed', FAILED_START);
  }

  async #configure(message: Message<'CONFIG'>, fds: number[]): Promise<void> {
    const next = new Configuration(message);
    this.#threshold.level = next.logLevel;
    await this.#logFile.configure(next, fds);
    if (this.#stopping) return;
    if (this.#running === undefined) await this.#start(next);
    else this.#reload(next, this.#running);
  }

  async #start(configuration: Configuration): Promise<void> {
    const { message } = configuration;
    const identity = await this.#coreIdentity(message);
    const owner = identity ?? { uid: this.#uid, gid: process.getgid?.() ?? 0 };
    const directory = new InstanceDirectory(message.instanceDir);
    directory.create({ core: identity });
    directory.copyLoaders(message.passengerRoot);
    const [coreSocket, adminSocket] = bindCoreSockets(directory, owner, configuration.socketBacklog);
    this.#configuration = configuration;
    this.#writeProperties(directory, configuration);
    const oomScoreAdj = this.#uid === 0 ? protectFromOomKiller() : undefined;
    const { passengerRoot } = message;
    const core = new CoreProcess(
      { passengerRoot, identity, nullFd: this.#nullFd, coreSocket, adminSocket, oomScoreAdj },
      {
        introduce: () => this.#introduce(),
        serving: () => this.#tellStarted(),
        request: (request) =>
          request.type === 'LAST_WORDS' ? this.#heard(request) : this.#running?.requests.handle(request),
        impossible: (failure) => this.#fail(failure),
        stopped: () => this.#log.info('core has stopped'),
      },
      this.#log,
      this.clock,
    );
    const context = {
      directory,
      owner,
      oomScoreAdj,
      processes: this.#processes,
      nullFd: this.#nullFd,
      configuration: () => this.#configuration ?? configuration,
      core: () => core,
    };
    this.#running = { directory, core, requests: new RequestHandler(context, this.#log) };
    core.start();
  }

  /** Of a core that is about to end. */
  #heard({ lines, lost }: Message<'LAST_WORDS'>): void {
    for (const line of heardWords(lines)) this.#logs.writeLine(line, 'error');
    if (lost > 0) this.#logs.lost(lost);
  }

  async #coreIdentity(message: Message<'CONFIG'>): Promise<Identity | undefined> {
    if (this.#uid !== 0) {
      this.#log.report('PSG7018');
      return undefined;
    }
    const { coreUid: uid, coreGid: gid } = message;
    if (uid === 0 || gid === 0) throw new PassengerError('PSG7009', { uid, gid });
    const groups = await findGroupList(message.coreUser, gid);
    return { uid, gid, groups: groups.filter((group) => group !== 0) };
  }

  #writeProperties(directory: InstanceDirectory, { message }: Configuration): void {
    directory.writeProperties({
      supervisorPid: process.pid,
      passengerRoot: message.passengerRoot,
      serverSoftware: message.serverSoftware,
      coreUser: message.coreUser,
      coreUid: this.#uid === 0 ? message.coreUid : this.#uid,
      generation: message.generation,
      startedAt: this.clock.wall().toISOString(),
    });
  }

  #reload(next: Configuration, running: Running): void {
    const before = this.#configuration?.message;
    const { message } = next;
    const moved =
      message.instanceDir !== before?.instanceDir ||
      message.coreUid !== before.coreUid ||
      message.coreGid !== before.coreGid;
    if (moved) throw new PassengerError('PSG7024', { generation: message.generation });
    this.#configuration = next;
    this.#writeProperties(running.directory, next);
    this.#sendConfiguration(running.core, [2]);
    if (running.core.serving) this.#tellStarted();
  }

  #tellStarted(): void {
    const generation = this.#configuration?.message.generation ?? 0;
    this.#control.send({ type: 'STARTED', generation });
  }

  #sendConfiguration(core: CoreProcess, fds: readonly number[]): void {
    if (this.#configuration === undefined) return;
    const { type, coreUid, coreGid, coreUser, privileged, ...shared } = this.#configuration.message;
    this.#log.debug('configuration to the core', {
      type,
      coreUid,
      coreGid,
      coreUser,
      privileged: privileged.length,
    });
    core.send({ type: 'CORE_CONFIG', ...shared, errorLog: this.#logFile.kind }, fds);
  }

  /** Tells a fresh core everything, then lets it begin. */
  #introduce(): void {
    // The first start happens inside #start, when #running was just set.
    const running = this.#running;
    if (running === undefined) return;
    this.#sendConfiguration(running.core, []);
    for (const { pid, key, meta, spawnId, fds } of this.#processes.running()) {
      running.core.send({ type: 'ADOPT', pid, key, meta, spawnId }, fds);
    }
    running.core.send({ type: 'START' });
  }

  #appRunning(app: AppProcess): void {
    const core = this.#running?.core;
    if (core === undefined) return;
    if (core.epoch === app.epoch) {
      core.send({ type: 'SPAWNED', spawnId: app.spawnId, pid: app.pid }, app.fds);
      return;
    }
    // The core that asked has gone, and its successor was introduced without this process.
    this.#log.info('start without an owner ended', { pid: app.pid });
    this.#processes.signal(app.pid, 'SIGKILL', true);
  }

  #appExited(app: AppProcess, facts: ExitFacts, release: () => void): void {
    removeAppSocket(app.socketFile);
    const signal = facts.signal === undefined ? undefined : signalName(facts.signal);
    this.#log.info('app process ended', { pid: app.pid, exitCode: facts.code, signal });
    const core = this.#running?.core;
    if (core === undefined) release();
    else core.send({ type: 'EXITED', pid: app.pid, code: facts.code, signal }, [], release);
  }

  /** An uncaught exception: core and apps end with us (death signal), Apache's parent starts a new supervisor. */
  crashed(error: unknown): never {
    crash(this.#log, error);
  }

  /** The process ends, for whatever reason. */
  finishLog(): void {
    this.#logs.finish(LAST_LINES_MS);
  }

  /** SIGCHLD. */
  childEnded(): void {
    this.#running?.core.reapIfEnded();
    this.#processes.reapEnded();
  }

  /** Once a second; also a second chance for a SIGCHLD that got lost. */
  tick(): void {
    this.#running?.core.tick();
    this.#logFile.look();
    this.childEnded();
  }

  /** Ends everything in order: core (which ends its apps politely), leftover apps, directory, ourselves. */
  stop(reason: string, exitCode = 0): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#log.info('stopping', { reason });
    void this.#stopAll().then(() => this.exit(exitCode), unexpected);
  }

  async #stopAll(): Promise<void> {
    // A directory service that hangs must not keep us.
    await Promise.race([this.#work, this.#pause(STOP_APPS_MS)]);
    const running = this.#running;
    if (running !== undefined) {
      running.core.stop(STOP_CORE_MS);
      await this.#until(() => running.core.stopped, STOP_CORE_MS + LIMITS.abortGraceMs);
    }
    await this.#stopApps();
    if (running !== undefined && !running.directory.remove()) {
      this.#log.report('PSG7023', { path: running.directory.root });
    }
  }

  async #stopApps(): Promise<void> {
    if (this.#processes.size === 0) return;
    this.#processes.signalAll('SIGTERM');
    if (await this.#until(() => this.#processes.size === 0, STOP_APPS_MS)) return;
    this.#log.report('PSG7022', { processes: this.#processes.size });
    this.#processes.signalAll('SIGKILL');
    await this.#until(() => this.#processes.size === 0, STOP_APPS_MS);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.setTimeout(resolve, ms));
  }

  async #until(condition: () => boolean, limitMs: number): Promise<boolean> {
    const end = this.clock.now() + limitMs;
    while (!condition() && this.clock.now() < end) {
      await this.#pause(POLL_MS);
      this.childEnded();
    }
    return condition();
  }
}

/** Numbers of the signals that the entry forwards. */
export const STOP_SIGNALS = [
  'SIGTERM',
  'SIGINT',
] as const satisfies readonly (keyof typeof constants.signals)[];
