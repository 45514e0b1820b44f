/**
 * Composition root of the core: the unprivileged process that decides about requests and processes. Started by the
 * supervisor with descriptor 2 = the error log, 3 = channel to the supervisor, 4 = socket for the Apache module,
 * 5 = admin socket. Puts the rooms together and takes them through the life of the core; decides nothing itself.
 */
import './base/plain-stdio.js';
import { AdminServer } from './admin/admin-server.js';
import { readlinkSync } from 'node:fs';
import path from 'node:path';
import { availableParallelism } from 'node:os';
import { clockOrigin, systemClock as clock } from './base/clock.js';
import { crash } from './base/crash.js';
import { PassengerError } from './base/errors.js';
import { Log, LogThreshold } from './base/log.js';
import { PacedLog } from './base/paced-log.js';
import { createWinstonSink } from './base/winston-sink.js';
import type { AppConfig } from './config/app-config.js';
import { parseServerSettings } from './config/server-config.js';
import type { ServerSettings } from './config/settings.js';
import { DIRECTIVE_TABLE_HASH } from './config/table-hash.js';
import { makeGateway } from './gateway-parts.js';
import type { Admission } from './gateway/shim-connection.js';
import { createCoreLifecycle } from './instance/lifecycle.js';
import { PreStart } from './instance/pre-start.js';
import { appendBytes, closeFd, duplicate, peerCredentials, readBytes, setDumpable } from './native.js';
import type { AppGroup } from './pool/app-group.js';
import { Pool } from './pool/pool.js';
import { AppRegistry } from './routing/app-registry.js';
import { choose } from './routing/choose.js';
import { ErrorPageFiles } from './spawn/error-page-files.js';
import type { LogFileSystem } from './spawn/log-file.js';
import { ProcessMemory } from './spawn/process-memory.js';
import { SupervisorChannel } from './spawn/supervisor-channel.js';
import { SupervisorFiles } from './spawn/supervisor-files.js';
import { SupervisorMemory } from './spawn/supervisor-memory.js';
import { SupervisorSpawner } from './spawn/supervisor-spawner.js';
import { Channel } from './supervisor/channel.js';
import { lastWords } from './supervisor/last-words.js';
import { ErrorLog, LAST_LINES_MS } from './supervisor/logs.js';
import { TO_CORE, type Message } from './supervisor/messages.js';
import { countersView, MainThreadFront, type Front } from './threads/front.js';
import { GatewayThreads } from './threads/gateway-threads.js';
import { SessionDesk } from './threads/session-desk.js';
import { gatewayThreadCount } from './threads/thread-count.js';

const CHANNEL_FD = 3;
const CORE_SOCKET_FD = 4;
const ADMIN_SOCKET_FD = 5;
/** What exchanges get of the time for stopping; the rest is for the processes. */
const EXCHANGE_SHARE = 0.5;
/** After a reload, until children of the new configuration answer. */
const RELOAD_SETTLES_MS = 2000;

/** Everything that exists once the first configuration has come. */
interface Rooms {
  readonly pool: Pool;
  readonly spawner: SupervisorSpawner;
  readonly files: SupervisorFiles;
  readonly memory: SupervisorMemory;
  readonly front: Front;
  readonly admin: AdminServer;
}

class Core {
  readonly #errorLog = new ErrorLog('core');
  readonly #threshold = new LogThreshold();
  readonly #sink = createWinstonSink(this.#errorLog);
  readonly #log = new Log('core', this.#sink, this.#threshold);
  readonly #lifecycle = createCoreLifecycle(clock, this.#log);
  readonly #channel: SupervisorChannel;
  readonly #preStart = new PreStart(clock, this.#log);
  readonly #adoptions: Promise<void>[] = [];
  #server: ServerSettings = parseServerSettings([]);
  #rooms: Rooms | undefined;

  constructor() {
    this.#channel = new SupervisorChannel(
      (handlers) => new Channel(CHANNEL_FD, TO_CORE, handlers),
      {
        onConfig: (config, errorLog) => this.#configure(config, errorLog),
        onAdopt: (process, fds) => this.#adoptions.push(this.#adopt(process, fds)),
        onStart: () => void this.#serve(),
        onProcess: (message, fds) => this.#rooms?.spawner.handle(message, fds),
        onStat: (result) => this.#rooms?.files.handle(result),
        onOpened: (result, fds) => this.#opened(result, fds),
        onLog: (fds) => this.#errorLog.redirect('fd', fds),
        onMemory: (result) => this.#rooms?.memory.handle(result),
        onStop: (deadlineMs) => void this.#stop(deadlineMs),
        onEnd: (problem) => this.#orphaned(problem),
      },
      clock,
    );
    this.#channel.startHeartbeat(() => this.#rooms?.front.alive() ?? true);
  }

  /** An uncaught exception: the supervisor starts another core, which adopts the processes. */
  crashed(error: unknown): never {
    crash(this.#log, error);
  }

  /** The process ends, for whatever reason: what its log has not taken goes to the supervisor, which lives on. */
  finishLog(): void {
    const unwritten = this.#errorLog.finish(LAST_LINES_MS);
    if (unwritten.length > 0) this.#channel.send({ type: 'LAST_WORDS', ...lastWords(unwritten) });
  }

  #configure(config: Message<'CORE_CONFIG'>, errorLog: number | undefined): void {
    this.#errorLog.redirect(config.errorLog, errorLog === undefined ? [] : [errorLog]);
    this.#server = parseServerSettings(config.settings);
    this.#threshold.level = this.#server.logLevel;
    const admission = { secret: config.secret, tableHash: DIRECTIVE_TABLE_HASH };
    if (this.#rooms === undefined) {
      this.#rooms = this.#build(config, admission);
      return;
    }
    this.#rooms.spawner.reopenLogs();
    this.#rooms.front.configure(admission, this.#server);
    this.#rooms.pool.reload(this.#server, config.generation);
    this.#preStart.run(this.#server.preStart, RELOAD_SETTLES_MS);
  }

  #build(config: Message<'CORE_CONFIG'>, admission: Admission): Rooms {
    const link = this.#channel;
    const files = new SupervisorFiles(link, clock);
    const memory = new SupervisorMemory(link, clock);
    const spawner = new SupervisorSpawner({
      link,
      instanceDir: config.instanceDir,
      sink: this.#errorLog,
      log: this.#log.forRoom('spawn'),
      clock,
      prefixed: () => !this.#server.disableLogPrefix,
      timeZone: process.env['TZ'],
      openLogFile: (config) => files.open(config, 'log', config.settings.appLogFile),
      system: LOG_FILE_SYSTEM,
    });
    const pool = new Pool({
      spawner,
      files,
      memory: new ProcessMemory(clock, (pid) => memory.ask(pid)),
      registry: new AppRegistry<AppGroup>(config.generation),
      choose,
      clock,
      log: this.#log.forRoom('pool'),
      server: this.#server,
    });
    const ownUid = process.getuid?.() ?? 0;
    const allowedUids = new Set([0, ownUid]);
    const pages = this.#errorPages(files);
    const front = this.#buildFront({ pool, pages }, admission, allowedUids);
    const admin = new AdminServer({
      views: new Map([
        ['/pool.json', () => json(pool.snapshot())],
        ['/gateway.json', () => json(countersView(front))],
      ]),
      isAllowed: (fd) => allowedUids.has(peerCredentials(fd).uid),
      log: this.#log.forRoom('admin'),
    });
    return { pool, spawner, files, memory, front, admin };
  }

  #errorPages(files: SupervisorFiles): ErrorPageFiles {
    const open = (app: AppConfig): Promise<number> => files.open(app, 'page', app.settings.customErrorPage);
    return new ErrorPageFiles({ open, readBytes, close: closeFd }, clock, this.#log.forRoom('spawn'));
  }

  /** The gateway, in this thread or in several others. */
  #buildFront(
    { pool, pages }: { readonly pool: Pool; readonly pages: ErrorPageFiles },
    admission: Admission,
    allowedUids: ReadonlySet<number>,
  ): Front {
    const count = gatewayThreadCount(this.#server.gatewayThreads, availableParallelism());
    if (count > 1) {
      const desk = new SessionDesk(pool);
      pool.audience = desk;
      return new GatewayThreads(
        {
          count,
          entry: path.join(__dirname, 'gateway-thread.js'),
          desk,
          pages,
          allowedUids,
          clockOrigin: clockOrigin(),
          sink: this.#sink,
          failures: new PacedLog(this.#log.forRoom('gateway'), clock),
          duplicate,
          onCrash: (error) => this.crashed(error),
        },
        { admission, server: this.#server },
      );
    }
    const surroundings = {
      source: pool,
      pages,
      admission,
      allowedUids,
      clock,
      log: this.#log.forRoom('gateway'),
    };
    const { gateway, listener } = makeGateway(surroundings, this.#server);
    return new MainThreadFront(gateway, listener);
  }

  #opened(result: Message<'OPENED'>, fds: readonly number[]): void {
    if (this.#rooms === undefined) fds.forEach(closeFd);
    else this.#rooms.files.handleOpened(result, fds);
  }

  async #adopt(message: Message<'ADOPT'>, fds: readonly number[]): Promise<void> {
    const rooms = this.#rooms;
    if (rooms === undefined) throw new Error('ADOPT before CONFIG');
    try {
      rooms.pool.adopt(await rooms.spawner.adopt(message, fds));
      this.#log.info('process adopted', { pid: message.pid });
    } catch (error) {
      if (!(error instanceof PassengerError)) throw error;
      this.#log.report(error.code, error.details);
    }
  }

  /** All running processes are known: from now on requests are welcome. */
  async #serve(): Promise<void> {
    await Promise.all(this.#adoptions.splice(0));
    if (this.#rooms === undefined || this.#lifecycle.state !== 'starting') return;
    await this.#rooms.front.listen(CORE_SOCKET_FD);
    this.#rooms.admin.listen(ADMIN_SOCKET_FD);
    this.#channel.send({ type: 'READY' });
    this.#lifecycle.transition('serving', 'all processes known');
    // Apache listens already; its children will answer when they are there.
    this.#preStart.run(this.#server.preStart, 0);
  }

  async #stop(deadlineMs: number): Promise<void> {
    if (!this.#lifecycle.can('draining')) return;
    this.#lifecycle.transition('draining', 'supervisor asked for it');
    this.#preStart.stop();
    const rooms = this.#rooms;
    if (rooms !== undefined) {
      const cut = clock.setTimeout(() => rooms.front.closeNow(), deadlineMs * EXCHANGE_SHARE);
      await Promise.all([rooms.front.stop(), rooms.pool.stop(deadlineMs)]);
      clock.clearTimeout(cut);
      rooms.admin.close();
      await rooms.spawner.logsWritten();
    }
    this.#exit('drained');
  }

  /** Without a supervisor there is nobody who could start, stop or reap a process. */
  #orphaned(problem: Error | undefined): void {
    if (this.#lifecycle.state === 'stopped') return;
    this.#log.report('PSG8002', { why: problem?.message ?? 'closed' });
    process.exit(1);
  }

  #exit(reason: string): void {
    this.#lifecycle.transition('stopped', reason);
    this.finishLog();
    this.#channel.close();
    process.exit(0);
  }
}

const LOG_FILE_SYSTEM: LogFileSystem = {
  append: appendBytes,
  pathOf: (fd) => readlinkSync(`/proc/self/fd/${fd}`),
  close: closeFd,
};

function json(value: unknown): { type: 'application/json'; body: string } {
  return { type: 'application/json', body: JSON.stringify(value) };
}

function main(): void {
  process.title = 'Passenger core';
  // Another process of the same user must not read our memory: it holds secrets of all apps.
  setDumpable(false);
  const core = new Core();
  process.on('uncaughtException', (error) => core.crashed(error));
  process.on('exit', () => core.finishLog());
  // Ending is the supervisor's decision and comes over the channel; SIGTERM is only its second means.
  process.on('SIGTERM', () => process.exit(0));
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGUSR2'] as const) process.on(signal, () => undefined);
}

main();
