/**
 * The servers that are measured side by side, each a private Apache with the event MPM of the same size, in front of the
 * same app (one or four processes of it): ours (which also serves the static file), mod_proxy_http to the app on TCP, and
 * Phusion Passenger where Debian's package is installed. Only these configurations load its module.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
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

/** No child comes or goes during a measurement, and 256 connections all find a worker within one app's share of them. */
const SIZE = `StartServers 4
ServerLimit 4
ThreadLimit 100
ThreadsPerChild 100
MaxRequestWorkers 400
MinSpareThreads 1
MaxSpareThreads 400
AsyncRequestWorkerFactor 100
MaxConnectionsPerChild 0
KeepAlive on
MaxKeepAliveRequests 0
LogLevel warn`;

export interface Contender {
  readonly name: string;
  readonly url: string;
  readonly tlsUrl: string;
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

  constructor(private readonly apps: 1 | 4) {}

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
      'PassengerMaxPoolSize 6',
      ...site(app, `PassengerMinInstances ${this.apps}`),
    ]);
    const contender = {
      processes: (): ProcessInfo[] => processesOf([server.pid]),
      apps: new Set<number>(),
    };
    const { url, tlsUrl } = server;
    this.list.push({ name: 'ours', url, tlsUrl, ...contender });
    const file = { url: `${url}file.txt`, tlsUrl: `${tlsUrl}file.txt` };
    this.list.push({ name: 'static file', ...file, ...contender });
    await answers(url);
    await this.#appsRun(contender.processes);
  }

  /** Until all app processes of a server are there. */
  async #appsRun(processes: () => ProcessInfo[]): Promise<void> {
    const running = (): number => processes().filter(({ title }) => title.includes('NodeApp')).length;
    await eventually(20_000, `${this.apps} app processes`, () => running() >= this.apps);
  }

  async #proxy(): Promise<void> {
    const app = this.#app();
    const ports: number[] = [];
    const pids: number[] = [];
    for (let n = 0; n < this.apps; n += 1) {
      const port = await freePort();
      const child = spawn(process.execPath, ['app.js'], {
        cwd: app,
        stdio: 'ignore',
        detached: true,
        env: { PORT: String(port), NODE_ENV: 'production', PATH: process.env['PATH'] },
      });
      this.#children.push(child);
      ports.push(port);
      pids.push(child.pid ?? 0);
    }
    const server = await this.#apache(
      this.#directory(),
      [...proxyMembers(ports), ...site(app, proxyPass(ports))],
      ['proxy', 'proxy_http', 'proxy_balancer', 'lbmethod_byrequests', 'slotmem_shm'],
    );
    const { url, tlsUrl } = server;
    const processes = (): ProcessInfo[] => processesOf([server.pid, ...pids]);
    this.list.push({ name: 'mod_proxy_http', url, tlsUrl, processes, apps: new Set(pids) });
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
      'PassengerMaxPoolSize 6',
      ...site(app, `PassengerMinInstances ${this.apps}`),
    ]);
    const { url, tlsUrl } = server;
    const processes = (): ProcessInfo[] => processesOf([server.pid]);
    this.list.push({ name: 'Phusion Passenger', url, tlsUrl, processes, apps: new Set() });
    await answers(url);
    await this.#appsRun(processes);
  }

  async #apache(
    dir: string,
    lines: readonly string[],
    modules: readonly string[] = [],
  ): Promise<{ pid: number; url: string; tlsUrl: string }> {
    const port = await freePort();
    const tlsPort = await freePort();
    makeCertificate(dir);
    const config = [SIZE, `Listen 127.0.0.1:${tlsPort}`, 'SSLSessionCache none', ...lines]
      .join('\n')
      .replaceAll('$PORT', String(port))
      .replaceAll('$TLS_PORT', String(tlsPort))
      .replaceAll('$DIR', dir);
    const all = ['ssl', 'socache_shmcb', ...modules];
    const server = await PrivateApache.start({ dir, port, mpm: 'event', modules: all, config });
    this.#servers.push(server);
    return { pid: server.pid, url: `http://127.0.0.1:${port}/`, tlsUrl: `https://127.0.0.1:${tlsPort}/` };
  }

  #directory(): string {
    const dir = makeTemporaryDirectory('psg-bench-');
    this.directories.push(dir);
    return dir;
  }

  #app(): string {
    const app = join(this.#directory(), 'app');
    mkdirSync(app);
    cpSync(resolve(__dirname, '../apps/bench'), app, { recursive: true });
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

/** A self-signed one for this run, so that no key is ever in the tree. */
function makeCertificate(dir: string): void {
  const files = ['-keyout', join(dir, 'key.pem'), '-out', join(dir, 'cert.pem')];
  const kind = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=a.test'];
  execFileSync('openssl', ['req', ...kind, ...files], { stdio: 'ignore' });
}

const PROXY_OPTIONS = 'enablereuse=on keepalive=on ttl=4 max=128';

function proxyMembers(ports: readonly number[]): string[] {
  if (ports.length === 1) return [];
  const members = ports.map((port) => `BalancerMember http://127.0.0.1:${port} ${PROXY_OPTIONS}`);
  return ['<Proxy balancer://apps>', ...members, '</Proxy>'];
}

function proxyPass(ports: readonly number[]): string {
  if (ports.length > 1) return 'ProxyPass / balancer://apps/';
  return `ProxyPass / http://127.0.0.1:${ports[0]}/ ${PROXY_OPTIONS} upgrade=websocket`;
}

/** The measured host comes by its name, as sites do; wrk sends the header. */
function site(app: string, config: string): string[] {
  return [vhost(app, '$PORT', config), vhost(app, '$TLS_PORT', `${config}\n${TLS}`)];
}

const TLS = `SSLEngine on
SSLCertificateFile $DIR/cert.pem
SSLCertificateKeyFile $DIR/key.pem`;

function vhost(app: string, port: string, config: string): string {
  return `<VirtualHost 127.0.0.1:${port}>
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
