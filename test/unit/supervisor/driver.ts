/**
 * Plays Apache's parent and the core at once: builds a small installation in a fresh directory, starts a supervisor on
 * it with a control socket, and talks through the fake core. Needs root only where it switches users.
 */
import { buildSync } from 'esbuild';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { closeFd, receiveRecords, sendRecord, socketPair, type Receiver } from '../../../core/native.js';
import {
  decodeMessage,
  encodeMessage,
  TO_APACHE,
  type Message,
  type ToApache,
} from '../../../core/supervisor/messages.js';
import { CONTROL_LIMIT, RecordAssembler } from '../../../core/supervisor/records.js';
import { eventually } from '../../support/eventually.js';

const REPOSITORY = path.join(__dirname, '..', '..', '..');

export interface CoreLine {
  readonly hello?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly env?: string[];
  readonly message?: Record<string, unknown> & { type: string };
  readonly fds?: number;
  readonly pid?: number;
  readonly output?: string;
  readonly of?: number;
}

/** A message as the core got it, with the number of descriptors. */
export type Told = Record<string, unknown> & { readonly fdCount: number | undefined };

export interface DriverOptions {
  readonly settings?: readonly (readonly [string, string])[];
  readonly privileged?: readonly (readonly [string, string])[];
  readonly coreUid?: number;
  readonly coreGid?: number;
  /** Node options of the supervisor. */
  readonly flags?: readonly string[];
  /** Mode of the installation's directory. */
  readonly installMode?: number;
  readonly asUid?: number;
  /** A driver whose supervisor has ended: the new one gets its instance directory. */
  readonly after?: Driver;
}

function bundle(entry: string, outfile: string): void {
  buildSync({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    logLevel: 'error',
  });
}

export class Driver {
  readonly lines: CoreLine[] = [];
  readonly fromSupervisor: ToApache[] = [];
  readonly instanceDir: string;
  readonly root: string;
  log = '';
  #core: net.Socket | undefined;
  #exited = false;
  #controlOpen = true;
  readonly #receiver: Receiver;

  private constructor(
    readonly base: string,
    readonly child: ChildProcess,
    private readonly control: number,
    private readonly server: net.Server,
    private readonly options: DriverOptions,
  ) {
    this.root = path.join(base, 'root');
    this.instanceDir = options.after?.instanceDir ?? path.join(base, 'registry', 'passenger.abcdefg');
    child.on('exit', () => (this.#exited = true));
    child.stderr?.on('data', (text: Buffer) => (this.log += text.toString()));
    const assembler = new RecordAssembler(CONTROL_LIMIT);
    this.#receiver = receiveRecords(
      control,
      65536,
      (bytes, fds) => {
        for (const { record } of assembler.push(bytes, fds)) {
          this.fromSupervisor.push(decodeMessage(record, TO_APACHE));
        }
      },
      () => undefined,
    );
    server.on('connection', (socket) => this.#connected(socket));
  }

  static async start(options: DriverOptions = {}): Promise<Driver> {
    const base = fs.mkdtempSync(path.join(os.tmpdir(), 'psg-supervisor-'));
    fs.chmodSync(base, 0o755);
    const root = path.join(base, 'root');
    const addon = path.join(root, 'native', 'build', 'Release');
    for (const directory of [addon, path.join(root, 'core', 'loaders')])
      fs.mkdirSync(directory, { recursive: true });
    fs.copyFileSync(
      path.join(REPOSITORY, 'native', 'build', 'Release', 'passenger_native.node'),
      path.join(addon, 'passenger_native.node'),
    );
    bundle(path.join(REPOSITORY, 'core', 'supervisor.ts'), path.join(root, 'dist', 'core', 'supervisor.js'));
    bundle(path.join(__dirname, 'fake-core.ts'), path.join(root, 'dist', 'core', 'core.js'));
    fs.writeFileSync(path.join(root, 'core', 'loaders', 'preload.cjs'), 'globalThis.preloaded = true;\n');
    fs.writeFileSync(path.join(root, 'core', 'loaders', 'detect.cjs'), 'console.log("detecting");\n');
    fs.mkdirSync(path.join(base, 'registry'), { mode: 0o755 });
    if (options.asUid !== undefined) execFileSync('chown', ['-R', `${options.asUid}:${options.asUid}`, base]);
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(path.join(root, 'driver.sock'), resolve));
    fs.chmodSync(path.join(root, 'driver.sock'), 0o666);
    fs.chmodSync(root, options.installMode ?? 0o755);
    const [ours, theirs] = socketPair('stream');
    const argv = [...(options.flags ?? []), path.join(root, 'dist', 'core', 'supervisor.js')];
    const child = spawn(process.execPath, argv, {
      stdio: ['ignore', 'pipe', 'pipe', theirs],
      detached: true,
      env: { PATH: '/usr/bin:/bin', SECRET_OF_ADMIN: 'x', LANG: 'C.UTF-8' },
      ...(options.asUid === undefined ? {} : { uid: options.asUid, gid: options.asUid }),
    });
    closeFd(theirs);
    return new Driver(base, child, ours, server, options);
  }

  /** Started and configured, with a core that serves. */
  static async serving(options: DriverOptions = {}): Promise<Driver> {
    const driver = await Driver.start(options);
    driver.configure(1);
    try {
      await driver.started(1);
    } catch (error) {
      await driver.end();
      throw new Error(driver.log, { cause: error });
    }
    return driver;
  }

  #connected(socket: net.Socket): void {
    this.#core = socket;
    let rest = '';
    socket.on('error', () => undefined);
    socket.on('data', (bytes: Buffer) => {
      const lines = (rest + bytes.toString()).split('\n');
      rest = lines.pop() ?? '';
      this.lines.push(...lines.map((line) => JSON.parse(line) as CoreLine));
    });
  }

  configure(generation: number, fds: readonly number[] = [], changes: Partial<Message<'CONFIG'>> = {}): void {
    const message: Message<'CONFIG'> = {
      type: 'CONFIG',
      generation,
      secret: Buffer.alloc(32, 7),
      instanceDir: this.instanceDir,
      passengerRoot: this.root,
      coreUid: this.options.coreUid ?? 33,
      coreGid: this.options.coreGid ?? 33,
      coreUser: 'www-data',
      serverSoftware: 'Apache/2.4',
      settings: [['PassengerLogLevel', '5'], ...(this.options.settings ?? [])],
      privileged: this.options.privileged ?? [],
      errorLog: 'fd',
      tableHash: Buffer.alloc(8),
      maxRequestWorkers: 150,
      ...changes,
    };
    sendRecord(this.control, encodeMessage(message), fds);
  }

  async started(generation: number): Promise<void> {
    await eventually(10_000, `generation ${generation} serves`, () =>
      this.fromSupervisor.some((m) => m.type === 'STARTED' && m.generation === generation),
    );
  }

  order(order: Record<string, unknown>): void {
    this.#core?.write(`${JSON.stringify(order)}\n`);
  }

  send(message: Record<string, unknown> & { type: string }): void {
    this.order({ order: 'send', message });
  }

  spawn(spawnId: number, changes: Record<string, unknown>): void {
    this.send({
      type: 'SPAWN',
      spawnId,
      startupFile: '',
      kind: 'command',
      user: '',
      group: '',
      nodejs: '',
      startCommand: '',
      env: ['PATH=/usr/bin:/bin', 'GIVEN=value'],
      winningEnv: [],
      loadShellEnvvars: 0,
      metaText: `meta ${spawnId}`,
      referenceFile: '',
      meteorAppSettings: '',
      noNewPrivileges: '',
      appEnv: 'production',
      key: `key${spawnId}`,
      ...changes,
    });
  }

  /** Waits for a message of the supervisor to the core. */
  async told(type: string, match: (message: Record<string, unknown>) => boolean = () => true): Promise<Told> {
    return eventually(10_000, `core hears ${type}`, () => {
      const line = this.lines.find((l) => l.message?.type === type && match(l.message));
      return line?.message === undefined ? undefined : { ...line.message, fdCount: line.fds };
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.log}\n${JSON.stringify(this.lines)}`);
    });
  }

  async output(pid: unknown, pattern: RegExp): Promise<string> {
    const all = (): string => this.lines.map((line) => (line.of === pid ? (line.output ?? '') : '')).join('');
    return eventually(10_000, `output ${pattern.source}`, () => (pattern.test(all()) ? all() : undefined));
  }

  /** What Apache's end looks like to the supervisor. */
  closeControl(): void {
    if (!this.#controlOpen) return;
    this.#controlOpen = false;
    this.#receiver.close();
    closeFd(this.control);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  async exited(deadlineMs = 20_000): Promise<void> {
    await eventually(deadlineMs, `supervisor has ended\n${this.log}`, () => this.#exited);
  }

  async end(): Promise<void> {
    this.closeControl();
    if (!this.#exited) this.child.kill('SIGTERM');
    await this.exited().finally(() => this.child.kill('SIGKILL'));
    this.server.close();
    this.#core?.destroy();
    fs.rmSync(this.base, { recursive: true, force: true });
  }
}

/** A directory that everybody can reach, with one file, owned by `uid`. */
export function makeApp(base: string, uid: number, file: string, content: string): string {
  const app = fs.mkdtempSync(path.join(base, 'app-'));
  fs.writeFileSync(path.join(app, file), content, { mode: 0o644 });
  fs.chmodSync(app, 0o755);
  fs.chownSync(app, uid, uid);
  fs.chownSync(path.join(app, file), uid, uid);
  return app;
}

/** `Uid:`, `CapBnd:` … of /proc/<pid>/status; undefined when the process has gone. */
export function processStatus(pid: number): Map<string, string> | undefined {
  try {
    const text = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
    return new Map(
      text.split('\n').map((line) => [line.split(':')[0] ?? '', line.slice(line.indexOf(':') + 1).trim()]),
    );
  } catch {
    return undefined;
  }
}

/** Neither there nor a zombie that waits for somebody else. */
export function isGone(pid: number): boolean {
  const state = processStatus(pid)?.get('State');
  return state === undefined || state.startsWith('Z');
}
