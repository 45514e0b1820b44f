/**
 * Composition root of the core: the unprivileged process that decides about requests and processes. Started by the
 * supervisor with descriptor 2 = the error log, 3 = channel to the supervisor, 4 = socket for the Apache module,
 * 5 = admin socket. Puts the rooms together and takes them through the life of the core; decides nothing itself.
 */
import { AdminServer } from './admin/admin-server.js';
import { systemClock as clock } from './base/clock.js';
import { crash } from './base/crash.js';
import { PassengerError } from './base/errors.js';
import { Log, LogThreshold } from './base/log.js';
import { createWinstonSink } from './base/winston-sink.js';
import { parseServerSettings } from './config/server-config.js';
import { SettingsCache } from './config/settings-cache.js';
import type { ServerSettings } from './config/settings.js';
import { DIRECTIVE_TABLE_HASH } from './config/table-hash.js';
import { Gateway } from './gateway/gateway.js';
import { Listener } from './gateway/listener.js';
import { createCoreLifecycle } from './instance/lifecycle.js';
import { peerCredentials, peerLeft, setDumpable } from './native.js';
import type { AppGroup } from './pool/app-group.js';
import { Pool } from './pool/pool.js';
import { AppRegistry } from './routing/app-registry.js';
import { choose } from './routing/choose.js';
import { SupervisorChannel } from './spawn/supervisor-channel.js';
import { SupervisorFiles } from './spawn/supervisor-files.js';
import { SupervisorSpawner } from './spawn/supervisor-spawner.js';
import { Channel } from './supervisor/channel.js';
import { ErrorLog } from './supervisor/logs.js';
import { TO_CORE, type Message } from './supervisor/messages.js';
import { VERSION } from './version.js';

const CHANNEL_FD = 3;
const CORE_SOCKET_FD = 4;
const ADMIN_SOCKET_FD = 5;
/** What exchanges get of the time for stopping; the rest is for the processes. */
const EXCHANGE_SHARE = 0.5;

/** Everything that exists once the first configuration has come. */
interface Rooms {
  readonly pool: Pool;
  readonly spawner: SupervisorSpawner;
  readonly files: SupervisorFiles;
  readonly gateway: Gateway;
  readonly listener: Listener;
  readonly admin: AdminServer;
}

class Core {
  readonly #errorLog = new ErrorLog();
  readonly #threshold = new LogThreshold();
  readonly #log = new Log('core', createWinstonSink(this.#errorLog), this.#threshold);
  readonly #lifecycle = createCoreLifecycle(clock, this.#log);
  readonly #channel: SupervisorChannel;
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
        onStop: (deadlineMs) => void this.#stop(deadlineMs),
        onEnd: (problem) => this.#orphaned(problem),
      },
      clock,
    );
    this.#channel.startHeartbeat();
  }

  /** An uncaught exception: the supervisor starts another core, which adopts the processes. */
  crashed(error: unknown): never {
    crash(this.#log, error);
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
    this.#rooms.listener.setAdmission(admission);
    this.#rooms.gateway.reload(this.#server);
    this.#rooms.pool.reload(this.#server, config.generation);
  }

  #build(config: Message<'CORE_CONFIG'>, admission: { secret: Buffer; tableHash: string }): Rooms {
    const link = this.#channel;
    const files = new SupervisorFiles(link, clock);
    const spawner = new SupervisorSpawner({
      link,
      instanceDir: config.instanceDir,
      sink: this.#errorLog,
      log: this.#log.forRoom('spawn'),
      clock,
      prefixed: () => !this.#server.disableLogPrefix,
      timeZone: process.env['TZ'],
    });
    const pool = new Pool({
      spawner,
      files,
      registry: new AppRegistry<AppGroup>(config.generation),
      choose,
      clock,
      log: this.#log.forRoom('pool'),
      server: this.#server,
    });
    const gateway = new Gateway(
      { source: pool, settings: new SettingsCache(), log: this.#log.forRoom('gateway'), version: VERSION },
      this.#server,
    );
    const ownUid = process.getuid?.() ?? 0;
    const allowedUids = new Set([0, ownUid]);
    const listener = new Listener({
      gateway,
      admission,
      peerUid: (fd) => peerCredentials(fd).uid,
      peerLeft,
      allowedUids,
      clock,
    });
    const admin = new AdminServer({
      views: new Map([
        ['/pool.json', () => json(pool.snapshot())],
        ['/gateway.json', () => json(gateway.counters)],
      ]),
      isAllowed: (fd) => allowedUids.has(peerCredentials(fd).uid),
      log: this.#log.forRoom('admin'),
    });
    return { pool, spawner, files, gateway, listener, admin };
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
    await this.#rooms.listener.listen({ fd: CORE_SOCKET_FD });
    this.#rooms.admin.listen(ADMIN_SOCKET_FD);
    this.#channel.send({ type: 'READY' });
    this.#lifecycle.transition('serving', 'all processes known');
  }

  async #stop(deadlineMs: number): Promise<void> {
    if (!this.#lifecycle.can('draining')) return;
    this.#lifecycle.transition('draining', 'supervisor asked for it');
    const rooms = this.#rooms;
    if (rooms !== undefined) {
      const cut = clock.setTimeout(() => rooms.listener.closeNow(), deadlineMs * EXCHANGE_SHARE);
      await Promise.all([rooms.listener.stop(), rooms.pool.stop(deadlineMs)]);
      clock.clearTimeout(cut);
      rooms.admin.close();
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
    this.#channel.close();
    process.exit(0);
  }
}

function json(value: unknown): { type: 'application/json'; body: string } {
  return { type: 'application/json', body: JSON.stringify(value) };
}

function main(): void {
  process.title = 'Passenger core';
  // Another process of the same user must not read our memory: it holds secrets of all apps.
  setDumpable(false);
  const core = new Core();
  process.on('uncaughtException', (error) => core.crashed(error));
  // Ending is the supervisor's decision and comes over the channel; SIGTERM is only its second means.
  process.on('SIGTERM', () => process.exit(0));
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGUSR2'] as const) process.on(signal, () => undefined);
}

main();
