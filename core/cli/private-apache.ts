/**
 * An Apache of our own: private ServerRoot, pid file, logs and port, on the loopback address, beside any Apache that the
 * machine runs. Used by the demo and by the tests; real installations use the system's Apache.
 *
 * Start and stop are free of races: start() returns when a child of Apache has answered a request, and stop() when the
 * parent process does not exist any more. Apache itself is run as a daemon (`-k start`), as administrators run it.
 */
import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

export type Mpm = 'event' | 'worker' | 'prefork';

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

export interface PrivateApacheOptions {
  /** ServerRoot: exists, empty, and every directory above it can be searched by everybody. */
  readonly dir: string;
  readonly port: number;
  readonly mpm: Mpm;
  /** Modules beyond BASE_MODULES, by the names of Debian's .load files. */
  readonly modules: readonly string[];
  /** Everything after the base: LoadModule lines, virtual hosts, … */
  readonly config: string;
  /** Argument of ErrorLog. */
  readonly errorLog?: string | undefined;
  /** Runs Apache as this account; otherwise as ours. */
  readonly account?: Account | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
}

/** Enough for static files, log, environment and our module; whatever else a test needs it names. */
const BASE_MODULES = [
  'authz_core',
  'authn_core',
  'dir',
  'mime',
  'env',
  'alias',
  'autoindex',
  'setenvif',
] as const;

const MPM_SIZES: Readonly<Record<Mpm, string>> = {
  event:
    'StartServers 1\nServerLimit 8\nThreadsPerChild 25\nMaxRequestWorkers 50\nMinSpareThreads 5\nMaxSpareThreads 50',
  worker:
    'StartServers 1\nServerLimit 8\nThreadsPerChild 25\nMaxRequestWorkers 50\nMinSpareThreads 5\nMaxSpareThreads 50',
  prefork: 'StartServers 4\nServerLimit 32\nMaxRequestWorkers 16\nMinSpareServers 2\nMaxSpareServers 8',
};

const MODULE_DIRECTORY = '/usr/lib/apache2/modules';
/** Answers without our module; tells that a child of the right Apache serves. */
export const READY_HOST = 'ready.invalid';
const START_DEADLINE_MS = 20_000;
/** Longer than PassengerTS needs to stop its apps politely and then by force. */
const STOP_DEADLINE_MS = 30_000;

export function loadModule(name: string): string {
  return `LoadModule ${name}_module ${MODULE_DIRECTORY}/mod_${name}.so`;
}

function baseConfig(options: PrivateApacheOptions): string {
  const modules = [`mpm_${options.mpm}`, ...BASE_MODULES, ...options.modules];
  const identity =
    options.account === undefined && process.getuid?.() === 0 ? 'User www-data\nGroup www-data' : '';
  return `ServerRoot ${options.dir}
PidFile ${options.dir}/httpd.pid
DefaultRuntimeDir ${options.dir}/run
Listen 127.0.0.1:${options.port}
ServerName ${READY_HOST}
${[...new Set(modules)].map(loadModule).join('\n')}
${MPM_SIZES[options.mpm]}
${identity}
ErrorLog ${options.errorLog ?? `${options.dir}/error.log`}
LogLevel notice
LogFormat "%h %t \\"%r\\" %>s %O %D \\"%{Host}i\\"" short
CustomLog ${options.dir}/access.log short
GracefulShutdownTimeout 5
TypesConfig /dev/null
AddType text/html .html
AddType text/css .css
AddType text/javascript .js .mjs
AddType text/plain .txt
AddType image/svg+xml .svg
DirectoryIndex index.html
<Directory />
  AllowOverride None
  Require all denied
</Directory>
<VirtualHost 127.0.0.1:${options.port}>
  ServerName ${READY_HOST}
  DocumentRoot ${options.dir}/ready
  <Directory ${options.dir}/ready>
    Require all granted
  </Directory>
  <IfModule mod_passenger.c>
    PassengerEnabled Off
  </IfModule>
</VirtualHost>
`;
}

/** Below the range from which the kernel takes ports for outgoing connections (32768 on), so that none of these collides. */
const PORTS = { first: 10_000, count: 22_000 } as const;
const TRIES = 20;

/** A port of the loopback address that is free now: the preferred one or one of the next, otherwise a random one. */
export async function freePort(preferred?: number): Promise<number> {
  const first = preferred ?? PORTS.first + Math.floor(Math.random() * (PORTS.count - TRIES));
  const wanted = [...Array.from({ length: TRIES }, (_, index) => first + index), 0];
  for (const port of wanted) {
    const found = await new Promise<number | undefined>((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(undefined));
      server.listen(port, '127.0.0.1', () => {
        const address = server.address() as AddressInfo;
        server.close(() => resolve(address.port));
      });
    });
    if (found !== undefined) return found;
  }
  throw new Error('no free port on 127.0.0.1');
}

/** Whether the process runs; a zombie that nobody reaped counts as gone. */
export function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false; // no such process
  }
}

function answersReady(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const options = {
      host: '127.0.0.1',
      port,
      path: '/',
      headers: { host: READY_HOST },
      agent: false,
      timeout: 1000,
    };
    const attempt = request(options, (response) => {
      response.resume();
      response.once('end', () => resolve(response.statusCode === 200));
    });
    attempt.once('timeout', () => attempt.destroy());
    attempt.once('error', () => resolve(false));
    attempt.end();
  });
}

export class PrivateApache {
  #pid = 0;

  private constructor(private readonly options: PrivateApacheOptions) {}

  get pid(): number {
    return this.#pid;
  }

  get configFile(): string {
    return join(this.options.dir, 'httpd.conf');
  }

  /** @throws Error with what Apache said, when it does not start or does not answer in time. */
  static async start(options: PrivateApacheOptions): Promise<PrivateApache> {
    const apache = new PrivateApache(options);
    apache.#writeFiles();
    const start = apache.run(['-k', 'start']);
    if (start.status !== 0) throw new Error(`Apache did not start: ${start.output}\n${apache.log()}`);
    await apache.#becomeReady();
    return apache;
  }

  /** Runs `apache2 -f <our httpd.conf> …`, for example for `-t`. */
  run(args: readonly string[]): { status: number | null; output: string } {
    const { account, env } = this.options;
    const result = spawnSync('/usr/sbin/apache2', ['-f', this.configFile, ...args], {
      encoding: 'utf8',
      cwd: '/',
      env: env ?? process.env,
      ...(account === undefined ? {} : { uid: account.uid, gid: account.gid }),
      timeout: START_DEADLINE_MS,
    });
    const output = `${result.stdout}${result.stderr}${result.error?.message ?? ''}`.trim();
    return { status: result.status, output };
  }

  /** The error log so far; empty where ErrorLog points elsewhere. */
  log(): string {
    const file = join(this.options.dir, 'error.log');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  isRunning(): boolean {
    return this.#pid !== 0 && isRunning(this.#pid);
  }

  /** Sends a signal to Apache's parent process, the one that we started. */
  signal(name: NodeJS.Signals): void {
    if (this.isRunning()) process.kill(this.#pid, name);
  }

  answers(): Promise<boolean> {
    return answersReady(this.options.port);
  }

  /** Ends Apache and returns when its parent process is gone. @throws Error when it had to be killed. */
  async stop(): Promise<void> {
    this.signal('SIGTERM');
    if (await this.#gone(STOP_DEADLINE_MS)) return;
    this.signal('SIGKILL');
    await this.#gone(5000);
    throw new Error(`Apache (pid ${this.#pid}) did not stop within ${STOP_DEADLINE_MS} ms`);
  }

  async #gone(deadlineMs: number): Promise<boolean> {
    const end = performance.now() + deadlineMs;
    while (this.isRunning()) {
      if (performance.now() > end) return false;
      await pause(10);
    }
    return true;
  }

  #writeFiles(): void {
    const { dir, account } = this.options;
    for (const name of ['', 'run', 'ready']) {
      const path = join(dir, name);
      mkdirSync(path, { recursive: true, mode: 0o755 });
      if (account !== undefined) chownSync(path, account.uid, account.gid);
    }
    writeFileSync(join(dir, 'ready/index.html'), 'ready\n');
    writeFileSync(this.configFile, `${baseConfig(this.options)}\n${this.options.config}\n`);
  }

  async #becomeReady(): Promise<void> {
    const pidFile = join(this.options.dir, 'httpd.pid');
    const end = performance.now() + START_DEADLINE_MS;
    for (;;) {
      if (this.#pid === 0 && existsSync(pidFile)) this.#pid = Number(readFileSync(pidFile, 'utf8'));
      if (this.#pid !== 0 && (await this.answers())) return;
      if (performance.now() > end) break;
      await pause(20);
    }
    this.signal('SIGKILL');
    throw new Error(`Apache did not answer within ${START_DEADLINE_MS} ms\n${this.log()}`);
  }
}
