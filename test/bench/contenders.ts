/**
 * The servers that are measured side by side, each a private Apache with the event MPM of the same size, in front of the
 * same 12-byte app: ours (which also serves the static file), mod_proxy_http to the app on TCP, and Phusion Passenger where
 * Debian's package is installed. Only these configurations load its module.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { dirname, join, resolve } from 'node:path';
import { MODULE_FILE, ROOT } from '../../core/cli/installation.js';
import { PrivateApache, freePort } from '../../core/cli/private-apache.js';
import { makeTemporaryDirectory, openForReading, readableRoot } from '../../core/cli/staged-root.js';
import { eventually } from '../support/eventually.js';
import { type ProcessInfo } from '../support/processes.js';
import { processesOf } from './cpu.js';

const PHUSION_MODULE = '/usr/lib/apache2/modules/mod_passenger.so';
const PHUSION_ROOT = '/usr/lib/ruby/vendor_ruby/phusion_passenger/locations.ini';

/** No child comes or goes during a measurement, and 64 connections all find a worker. */
const SIZE = `StartServers 4
ServerLimit 4
ThreadsPerChild 32
MaxRequestWorkers 128
MinSpareThreads 1
MaxSpareThreads 128
MaxConnectionsPerChild 0
KeepAlive on
MaxKeepAliveRequests 0
LogLevel warn`;

export interface Contender {
  readonly name: string;
  readonly url: string;
  /** Everything on the way, looked up anew. */
  processes(): ProcessInfo[];
  /** App processes that their title does not tell. */
  readonly apps: ReadonlySet<number>;
}

export class Contenders {
  readonly list: Contender[] = [];
  readonly #servers: PrivateApache[] = [];
  readonly #children: ChildProcess[] = [];
  readonly directories: string[] = [];

  async start(): Promise<void> {
    await this.#ours();
    await this.#proxy();
    if (existsSync(PHUSION_MODULE) && existsSync(PHUSION_ROOT)) await this.#phusion();
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) await server.stop();
    for (const child of this.#children) child.kill('SIGKILL');
  }

  async #ours(): Promise<void> {
    const dir = this.#directory();
    const wwwData = process.getuid?.() === 0 ? accountOf('www-data') : undefined;
    const root = readableRoot(ROOT, join(dir, 'root'), wwwData);
    const app = this.#app();
    const server = await this.#apache(dir, [
      `LoadModule passenger_module ${join(root, MODULE_FILE)}`,
      `PassengerRoot ${root}`,
      `PassengerInstanceRegistryDir ${join(dir, 'registry')}`,
      vhost(app, ''),
    ]);
    const contender = {
      processes: (): ProcessInfo[] => processesOf([server.pid]),
      apps: new Set<number>(),
    };
    this.list.push({ name: 'ours', url: server.url, ...contender });
    this.list.push({ name: 'static file', url: `${server.url}file.txt`, ...contender });
    await answers(`${server.url}`);
  }

  async #proxy(): Promise<void> {
    const app = this.#app();
    const port = await freePort();
    const child = spawn(process.execPath, ['app.js'], {
      cwd: app,
      stdio: 'ignore',
      detached: true,
      env: { PORT: String(port), NODE_ENV: 'production', PATH: process.env['PATH'] },
    });
    this.#children.push(child);
    const pid = child.pid ?? 0;
    const server = await this.#apache(
      this.#directory(),
      [vhost(app, `ProxyPass / http://127.0.0.1:${port}/ enablereuse=on keepalive=on ttl=4 max=64`)],
      ['proxy', 'proxy_http'],
    );
    this.list.push({
      name: 'mod_proxy_http',
      url: server.url,
      processes: () => processesOf([server.pid, pid]),
      apps: new Set([pid]),
    });
    await answers(server.url);
  }

  async #phusion(): Promise<void> {
    const app = this.#app();
    const server = await this.#apache(this.#directory(), [
      `LoadModule passenger_module ${PHUSION_MODULE}`,
      `PassengerRoot ${PHUSION_ROOT}`,
      `PassengerNodejs ${process.execPath}`,
      'PassengerDisableSecurityUpdateCheck on',
      'PassengerDisableAnonymousTelemetry on',
      vhost(app, ''),
    ]);
    this.list.push({
      name: 'Phusion Passenger',
      url: server.url,
      processes: () => processesOf([server.pid]),
      apps: new Set(),
    });
    await answers(server.url);
  }

  async #apache(
    dir: string,
    lines: readonly string[],
    modules: readonly string[] = [],
  ): Promise<{ pid: number; url: string }> {
    const port = await freePort();
    const config = [SIZE, ...lines].join('\n').replaceAll('$PORT', String(port));
    const server = await PrivateApache.start({ dir, port, mpm: 'event', modules, config });
    this.#servers.push(server);
    return { pid: server.pid, url: `http://127.0.0.1:${port}/` };
  }

  #directory(): string {
    const dir = makeTemporaryDirectory('psg-bench-');
    this.directories.push(dir);
    return dir;
  }

  #app(): string {
    const app = join(this.#directory(), 'app');
    mkdirSync(app);
    cpSync(resolve(__dirname, '../apps/hello12'), app, { recursive: true });
    openForReading(dirname(app));
    return app;
  }
}

function accountOf(name: string): { uid: number; gid: number } | undefined {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const [, , uid = '', gid = ''] = (line ?? '').split(':');
  return uid === '' ? undefined : { uid: Number(uid), gid: Number(gid) };
}

/** The measured host comes by its name, as sites do; wrk sends the header. */
function vhost(app: string, config: string): string {
  return `<VirtualHost 127.0.0.1:$PORT>
ServerName a.test
DocumentRoot ${app}/public
<Directory ${app}/public>
Require all granted
</Directory>
${config}
</VirtualHost>`;
}

async function answers(url: string): Promise<void> {
  await eventually(20_000, `an answer from ${url}`, () => statusOf(url).then((status) => status === 200));
}

function statusOf(url: string): Promise<number> {
  return new Promise((done) => {
    const attempt = request(url, { headers: { Host: 'a.test' }, agent: false }, (response) => {
      response.resume();
      done(response.statusCode ?? 0);
    });
    attempt.on('error', () => done(0));
    attempt.end();
  });
}
