/**
 * A private Apache with our module for one integration test: real server, real sockets, own directories.
 *
 * The contract of start and stop: start() returns when a child of this Apache has answered a request; stop() returns when
 * the parent, the supervisor, the core and all app processes are gone. stop() is called by the audit if the test did not.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { request, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http';
import { dirname, join } from 'node:path';
import { MODULE_FILE, ROOT } from '../../core/cli/installation.js';
import { freePort, PrivateApache, type Mpm } from '../../core/cli/private-apache.js';
import { makeTemporaryDirectory } from '../../core/cli/staged-root.js';
import { findInstances } from '../../core/instance/instances.js';
import { currentTest, type Audited } from './current-test.js';
import { eventually, perhaps } from './eventually.js';
import { openConnections } from './ports.js';
import {
  ageMs,
  allProcesses,
  childrenOf,
  descriptorsOf,
  familyOf,
  stillRuns,
  threadCount,
  type ProcessInfo,
} from './processes.js';
import { userNamed } from './users.js';

export interface VirtualHost {
  readonly name: string;
  readonly documentRoot?: string;
  /** Further lines inside the VirtualHost. */
  readonly config?: string;
}

export interface ApacheOptions {
  readonly mpm?: Mpm;
  /** Lines at server level, after ours. Here and in the virtual hosts `$DIR` stands for Apache's directory. */
  readonly server?: string;
  readonly vhosts: readonly VirtualHost[];
  /** Apache's modules beyond the base set: 'rewrite', 'http2', 'ssl', … */
  readonly modules?: readonly string[];
  /** Starts Apache itself as this ordinary user. */
  readonly asUser?: string;
  /** Argument of ErrorLog; log() reads <dir>/error.log whatever this says. `$DIR` stands for Apache's directory. */
  readonly errorLog?: string;
  readonly extraEnv?: NodeJS.ProcessEnv;
  /** Without our module: for tests of the harness. */
  readonly plain?: boolean;
  /** No core will serve: start() does not wait for one. */
  readonly coreless?: boolean;
  /** How long the audit waits for everything to be gone after stop(). */
  readonly goneDeadlineMs?: number;
}

export interface GetInit {
  readonly method?: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | Buffer;
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: string[];
  readonly body: Buffer;
  readonly httpVersion: string;
}

/** Lines for every server with our module, to run all tests in another configuration: `PassengerGatewayThreads 2`. */
const EVERYWHERE = process.env['PSG_TEST_SERVER'] ?? '';
/** Where the installation under test is; the runner names a copy where Apache's user cannot read the checkout. */
const TESTED_ROOT = process.env['PSG_TEST_ROOT'] ?? ROOT;

/** Nothing of ours may outlive Apache's parent for longer: polite stop (10 s), then force. */
const GONE_DEADLINE_MS = 20_000;

/** Starting 25 threads takes a child a few milliseconds, on a loaded machine some hundred; then it has grown anyway. */
const GROWN_MS = 400;
/** Beside its workers a child of a threaded MPM has a listener and a main thread; meanwhile also one that starts them. */
const OTHER_THREADS = 2;

const ALARMING = [
  /^\[[^\]]+\] \[[\w.-]*:(?:warn|error|crit|alert|emerg)\]/,
  /exit signal|AddressSanitizer|LeakSanitizer|runtime error:|FATAL ERROR:/,
];

function virtualHost(port: number, { name, documentRoot, config }: VirtualHost): string {
  const root = documentRoot === undefined ? [] : [`DocumentRoot ${documentRoot}`];
  const open = documentRoot === undefined ? [] : [documentRoot];
  return [
    `<VirtualHost 127.0.0.1:${port}>`,
    `ServerName ${name}`,
    ...root,
    ...open.map((path) => `<Directory ${path}>\nRequire all granted\nAllowOverride All\n</Directory>`),
    config ?? '',
    '</VirtualHost>',
  ].join('\n');
}

function passengerLines(registry: string): string {
  return `LoadModule passenger_module ${join(TESTED_ROOT, MODULE_FILE)}
<IfModule mod_passenger.c>
  PassengerRoot ${TESTED_ROOT}
  PassengerInstanceRegistryDir ${registry}
  ${EVERYWHERE}
</IfModule>`;
}

/** Nothing of the test runner's environment; the Node.js that runs the tests comes first. */
function cleanEnvironment(extra: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const path = `${dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;
  return { PATH: path, LANG: 'C.UTF-8', ...extra };
}

export class Apache implements Audited {
  readonly #allowed: RegExp[] = [];
  /** Each process of this instance that was ever seen, by pid and start time. */
  readonly #seen = new Map<string, ProcessInfo>();
  #stopped = false;
  #orphans: ProcessInfo[] = [];
  #complaints: string[] = [];
  #coreDescriptors = 0;

  private constructor(
    readonly dir: string,
    readonly port: number,
    private readonly registry: string,
    private readonly server: PrivateApache,
    private readonly goneDeadlineMs: number,
  ) {}

  /**
   * @param test the test's name, for messages
   * @throws Error with Apache's words and log when it does not start: tests of broken configurations match on it
   */
  static async start(test: string, options: ApacheOptions): Promise<Apache> {
    const dir = makeTemporaryDirectory('psg-');
    currentTest().directories.push(dir);
    const registry = join(dir, 'run');
    for (let attempt = 1; ; attempt += 1) {
      const port = await freePort();
      try {
        const server = await Apache.#launch(dir, port, registry, options);
        const apache = new Apache(dir, port, registry, server, options.goneDeadlineMs ?? GONE_DEADLINE_MS);
        currentTest().audited.push(apache);
        if (options.plain !== true && options.coreless !== true) await apache.#awaitCore();
        return apache;
      } catch (error) {
        // Another test took the port between our look and Apache's start.
        if (attempt < 3 && error instanceof Error && error.message.includes('AH00072')) continue;
        throw new Error(`${test}: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        });
      }
    }
  }

  static #launch(
    dir: string,
    port: number,
    registry: string,
    options: ApacheOptions,
  ): Promise<PrivateApache> {
    const vhosts = options.vhosts.map((vhost) => virtualHost(port, vhost));
    const ours = options.plain === true ? '' : passengerLines(registry);
    return PrivateApache.start({
      dir,
      port,
      mpm: options.mpm ?? 'event',
      modules: options.modules ?? [],
      config: [ours, options.server ?? '', ...vhosts].join('\n').replaceAll('$DIR', dir),
      errorLog: options.errorLog?.replaceAll('$DIR', dir),
      account: options.asUser === undefined ? undefined : userNamed(options.asUser),
      env: cleanEnvironment(options.extraEnv ?? {}),
    });
  }

  get pid(): number {
    return this.server.pid;
  }

  /** One request on a connection of its own. */
  get(host: string, path: string, init: GetInit = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const attempt = request(
        {
          host: '127.0.0.1',
          port: this.port,
          method: init.method ?? 'GET',
          path,
          headers: { host, ...init.headers },
          agent: false,
          timeout: init.timeoutMs ?? 30_000,
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.once('error', reject);
          response.once('end', () => {
            const { statusCode = 0, headers, rawHeaders, httpVersion } = response;
            resolve({ status: statusCode, headers, rawHeaders, body: Buffer.concat(chunks), httpVersion });
          });
        },
      );
      attempt.once('timeout', () => attempt.destroy(new Error(`no answer to ${host}${path} in time`)));
      attempt.once('error', reject);
      attempt.end(init.body);
    });
  }

  /** Graceful restart; returns when a child of the new generation serves. */
  async graceful(): Promise<void> {
    const old = new Set(this.#children().map(({ pid }) => pid));
    this.kill('SIGUSR1');
    await eventually(20_000, 'children of the new generation', async () => {
      return this.#children().some(({ pid }) => !old.has(pid)) && (await this.server.answers());
    });
    // Old children end at once, unless a request is still under way in them.
    await perhaps(5000, () => !this.#children().some(({ pid }) => old.has(pid)));
  }

  /** A signal to Apache's parent. */
  kill(name: NodeJS.Signals): void {
    this.processes();
    // The children of a parent that was killed serve on for ever, with or without our module: stop() ends them.
    if (name === 'SIGKILL') this.#orphans = this.#children();
    this.server.signal(name);
  }

  /** Runs `apache2 -f <this configuration> …args`. */
  run(args: readonly string[]): { status: number | null; output: string } {
    return this.server.run(args);
  }

  log(): string {
    return this.server.log();
  }

  /** Declares a warning or error that this test provokes; each pattern is tried against whole lines. */
  allowLog(pattern: RegExp): void {
    this.#allowed.push(pattern);
  }

  /** Path of the instance directory; exists from the start of the supervisor on. */
  instanceDir(): string {
    const name = existsSync(this.registry)
      ? readdirSync(this.registry).find((entry) => entry.startsWith('passenger.'))
      : undefined;
    if (name === undefined) throw new Error(`no instance in ${this.registry}`);
    return join(this.registry, name);
  }

  /** Supervisor, core and apps of this instance; Apache's own processes are not among them. */
  processes(): ProcessInfo[] {
    const supervisor = findInstances([this.registry])[0]?.supervisorPid;
    const family = supervisor === undefined ? [] : familyOf(supervisor);
    for (const info of family) this.#seen.set(`${info.pid}/${info.startTime}`, info);
    return family;
  }

  core(): ProcessInfo | undefined {
    return this.processes().find(({ title }) => title.startsWith('Passenger core'));
  }

  /** App processes: those that neither are the supervisor nor the core. */
  appProcesses(): ProcessInfo[] {
    return this.processes().filter(({ title }) => !/^Passenger (core|supervisor)/.test(title));
  }

  /** What the core's descriptors point to. */
  coreDescriptors(): string[] {
    const core = this.core();
    return core === undefined ? [] : descriptorsOf(core.pid);
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.#awaitGrownChildren();
    await this.#awaitQuiet();
    await this.#noteDescriptors();
    this.processes();
    const children = this.#children();
    await this.server.stop().catch((error: unknown) => this.#complaints.push(String(error)));
    this.#endChildren(children);
    await this.#awaitNothingLeft();
  }

  async audit(): Promise<string[]> {
    await this.stop();
    return [...this.#complaints, ...this.#unexpectedLines()];
  }

  report(): string {
    return this.log();
  }

  async #awaitCore(): Promise<void> {
    const core = await eventually(20_000, 'the core serves', () => {
      const found = this.core();
      return found !== undefined && existsSync(join(this.instanceDir(), 'core.d/core.sock'))
        ? found
        : undefined;
    }).catch(() => undefined);
    // A core that does not come is some tests' subject: they see 503, the others see the log in the audit.
    this.#coreDescriptors = core === undefined ? 0 : descriptorsOf(core.pid).length;
  }

  #children(): ProcessInfo[] {
    return childrenOf(this.pid).filter(({ title }) => title.includes('apache2'));
  }

  /**
   * A child of a threaded MPM that is told to stop while it still starts its threads crashes now and then (AH00052),
   * also without our module: seen with plain Apache 2.4.71. A user does not stop a server in its first moments.
   */
  async #awaitGrownChildren(): Promise<void> {
    const configuration = readFileSync(this.server.configFile, 'utf8');
    const sizes = [...configuration.matchAll(/^ *ThreadsPerChild (\d+)/gm)];
    const all = sizes.length === 0 ? 1 : Number(sizes.at(-1)?.[1]) + OTHER_THREADS;
    let before = false;
    const grown = (): boolean => {
      const now = this.#children().every(
        (child) => threadCount(child.pid) >= all || ageMs(child) >= GROWN_MS,
      );
      const twice = now && before;
      before = now;
      return twice;
    };
    await perhaps(2000, grown);
  }

  /**
   * httpd's event MPM shuts the sockets of its workers down when it stops, also one whose connection has just been
   * freed: the child then crashes in apr_os_sock_get (close_worker_sockets in event.c, seen with 2.4.71 and without our
   * module). So a test's last connections get a moment to end; those that it holds open on purpose stay.
   */
  async #awaitQuiet(): Promise<void> {
    let quiet = 0;
    const settled = (): boolean => {
      quiet = openConnections(this.port) === 0 ? quiet + 1 : 0;
      return quiet >= 5;
    };
    await perhaps(500, settled);
  }

  #buffersOfCore(): string[] {
    return this.coreDescriptors().filter(
      (target) => target.endsWith('(deleted)') && target.startsWith('/') && !target.includes('/memfd:'),
    );
  }

  /** A core may hold a few descriptors for each app and each worker of Apache, and no unlinked buffer file. */
  async #noteDescriptors(): Promise<void> {
    // A client that has just left is noticed within a second.
    const gone = (): boolean => this.#buffersOfCore().length === 0;
    await eventually(2000, 'no buffer file is left', gone).catch(() => undefined);
    const now = this.coreDescriptors();
    const apps = [...this.#seen.values()].length;
    const bound = this.#coreDescriptors + 80 + 8 * apps;
    const buffers = this.#buffersOfCore();
    if (this.#coreDescriptors > 0 && now.length > bound) {
      this.#complaints.push(
        `the core holds ${now.length} descriptors, ${this.#coreDescriptors} at its start: ${now.join(' ')}`,
      );
    }
    if (buffers.length > 0) this.#complaints.push(`the core still holds buffer files: ${buffers.join(' ')}`);
  }

  #endChildren(children: readonly ProcessInfo[]): void {
    for (const info of children.filter(stillRuns)) {
      this.#complaints.push(`child of Apache left: ${info.pid}`);
      process.kill(info.pid, 'SIGKILL');
    }
    for (const info of this.#orphans.filter(stillRuns)) process.kill(info.pid, 'SIGKILL');
  }

  #leftovers(): ProcessInfo[] {
    const directories = currentTest().directories;
    const inOurs = allProcesses().filter(({ cwd }) =>
      directories.some((dir) => cwd === dir || cwd.startsWith(`${dir}/`)),
    );
    const seen = [...this.#seen.values()].filter(stillRuns);
    const others = new Set(currentTest().audited.filter((other) => other !== this));
    // Another Apache of this test may still serve the same app directories.
    return others.size > 0
      ? seen
      : [...seen, ...inOurs.filter(({ pid }) => !seen.some((info) => info.pid === pid))];
  }

  async #awaitNothingLeft(): Promise<void> {
    const instances = (): string[] =>
      existsSync(this.registry)
        ? readdirSync(this.registry).filter((name) => name.startsWith('passenger.'))
        : [];
    await eventually(
      this.goneDeadlineMs,
      'nothing left',
      () => this.#leftovers().length === 0 && instances().length === 0,
    ).catch(() => {
      for (const info of this.#leftovers()) {
        this.#complaints.push(
          `process left: ${info.pid} (parent ${info.parent}, uid ${info.uid}) ${info.title}`,
        );
        process.kill(info.pid, 'SIGKILL');
      }
      for (const name of instances()) this.#complaints.push(`instance directory left: ${name}`);
    });
  }

  #unexpectedLines(): string[] {
    return this.log()
      .split('\n')
      .filter((line) => ALARMING.some((pattern) => pattern.test(line)))
      .filter((line) => !this.#allowed.some((pattern) => pattern.test(line)))
      .map((line) => `unexpected log line: ${line}`);
  }
}
