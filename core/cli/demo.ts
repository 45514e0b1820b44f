/**
 * `npm run demo`: a private Apache with our module serves three example apps on three virtual hosts, until Ctrl-C.
 * Everything lives in one temporary directory, which is removed at the end. `--check` requests each page and a WebSocket,
 * says what came and ends; `--tail` follows the error log. Not a part of an installation: administrators configure their own Apache.
 */
import { chownSync, cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Command } from 'commander';
import { findInstances } from '../instance/instances.js';
import { accountNamed, appOwners } from './accounts.js';
import { chatAnswers } from './demo-chat.js';
import { followFile } from './follow-file.js';
import { MODULE_FILE, ROOT } from './installation.js';
import { freePort, PrivateApache, type Account } from './private-apache.js';
import { makeTemporaryDirectory, openForReading, readableRoot } from './staged-root.js';

/** Name of each app, with what its virtual host says beyond the others'. */
const APPS = { hello: '', notes: '', chat: 'PassengerMaxInstances 1' } as const;
const APP_NAMES = Object.keys(APPS);
const PREFERRED_PORT = 8080;
/** Supervisor and apps may take this long to end after Apache: polite stop, then force. */
const GONE_DEADLINE_MS = 20_000;

const IS_ROOT = process.getuid?.() === 0;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Copies the example apps into `dir`, as root each with an owner of its own. */
function copyApps(dir: string): void {
  const owners = IS_ROOT ? appOwners(APP_NAMES.length) : [];
  for (const [index, name] of APP_NAMES.entries()) {
    const app = join(dir, name);
    cpSync(join(ROOT, 'conf-examples/demo', name), app, { recursive: true });
    mkdirSync(join(app, 'tmp'), { recursive: true });
    openForReading(app);
    const owner = owners[index];
    if (owner !== undefined) giveTo(app, owner);
  }
}

/** The startup file's owner is who the app runs as; tmp/ is where it writes. */
function giveTo(app: string, owner: Account): void {
  for (const path of ['', 'app.js', 'tmp', 'public']) chownSync(join(app, path), owner.uid, owner.gid);
}

function configuration(dir: string, root: string, port: number): string {
  const hosts = Object.entries(APPS).map(
    ([name, lines]) => `<VirtualHost 127.0.0.1:${port}>
  ServerName ${name}.localhost
  DocumentRoot ${dir}/${name}/public
  PassengerFriendlyErrorPages On
  ${lines}
  <Directory ${dir}/${name}/public>
    Require all granted
  </Directory>
</VirtualHost>`,
  );
  return `LoadModule passenger_module ${join(root, MODULE_FILE)}
<IfModule mod_passenger.c>
  PassengerRoot ${root}
  PassengerInstanceRegistryDir ${registryIn(dir)}
  PassengerNodejs ${process.execPath}
</IfModule>
${hosts.join('\n')}`;
}

/** The demo's instance directory lies in the demo's own directory. */
function registryIn(dir: string): string {
  return join(dir, 'run');
}

/** Supervisors and instance directories that are there. */
function remainsIn(dir: string): string[] {
  const registry = registryIn(dir);
  const directories = readdirSync(registry).filter((name) => name.startsWith('passenger.'));
  const supervisors = findInstances([registry]).map(
    ({ supervisorPid }) => `supervisor, pid ${supervisorPid}`,
  );
  return [...directories.map((name) => join(registry, name)), ...supervisors];
}

class Demo {
  #apache: PrivateApache | undefined;

  constructor(
    readonly dir: string,
    readonly port: number,
  ) {}

  async start(): Promise<void> {
    copyApps(this.dir);
    const root = readableRoot(
      ROOT,
      join(this.dir, 'installation'),
      IS_ROOT ? accountNamed('www-data') : undefined,
    );
    if (root !== ROOT) say('Other users cannot read this directory, so a copy of the installation is used.');
    this.#apache = await PrivateApache.start({
      dir: this.dir,
      port: this.port,
      mpm: 'event',
      modules: [],
      config: configuration(this.dir, root, this.port),
    });
  }

  url(name: string, path = '/'): string {
    return `http://${name}.localhost:${this.port}${path}`;
  }

  describe(): void {
    say(`
Apache (pid ${this.#apache?.pid ?? '?'}) serves three Node apps:

  ${this.url('hello').padEnd(34)}plain node:http, static files by Apache
  ${this.url('notes').padEnd(34)}ES module with top-level await, a form
  ${this.url('chat').padEnd(34)}WebSocket without packages: open it twice

  Log             ${this.dir}/error.log (accesses: access.log)
  Configuration   ${this.dir}/httpd.conf
  Status          PASSENGER_INSTANCE_REGISTRY_DIR=${registryIn(this.dir)} npx passenger-status
  New code        edit ${this.dir}/hello/app.js, then touch ${this.dir}/hello/tmp/restart.txt

Browsers and curl know that *.localhost is this machine; for other programs send the Host header yourself.
Press Ctrl-C to stop everything and remove ${this.dir}.
`);
  }

  /** Requests each page and talks to the chat; returns whether all is as it should be. */
  async check(): Promise<boolean> {
    const wanted: [name: string, path: string, form: string | undefined, status: number, text: string][] = [
      ['hello', '/', undefined, 200, 'Hello from Node.js'],
      ['hello', '/style.css', undefined, 200, 'color-scheme'],
      ['notes', '/', undefined, 200, '<h1>Notes</h1>'],
      ['notes', '/', 'note=checked', 303, ''],
      ['notes', '/', undefined, 200, 'checked'],
      ['chat', '/', undefined, 200, '<h1>Chat</h1>'],
    ];
    let good = true;
    const note = (fine: boolean, what: string): void => {
      say(`${fine ? 'ok    ' : 'FAILED'} ${what}`);
      good &&= fine;
    };
    for (const [name, path, form, status, text] of wanted) {
      const answer = await this.#ask(name, path, form);
      const fine = answer.status === status && answer.body.includes(text);
      note(fine, `${form === undefined ? 'GET ' : 'POST'} ${this.url(name, path)} ${answer.status}`);
    }
    const chat = await chatAnswers(this.port, `chat.localhost:${this.port}`, 'a checked message');
    note(chat.said, `WS   ${this.url('chat', '/chat').replace('http', 'ws')} ${chat.status}`);
    if (!good) say(`\nError log:\n${this.#apache?.log() ?? ''}`);
    return good;
  }

  #ask(name: string, path: string, form: string | undefined): Promise<{ status: number; body: string }> {
    return new Promise((resolve) => {
      const attempt = request(
        {
          host: '127.0.0.1',
          port: this.port,
          path,
          method: form === undefined ? 'GET' : 'POST',
          headers: {
            host: `${name}.localhost:${this.port}`,
            'content-type': 'application/x-www-form-urlencoded',
          },
          agent: false,
          timeout: 60_000,
        },
        (response) => {
          let body = '';
          response.setEncoding('utf8');
          response.on('data', (text: string) => (body += text));
          response.once('error', () => resolve({ status: 0, body }));
          response.once('end', () => resolve({ status: response.statusCode ?? 0, body }));
        },
      );
      attempt.once('timeout', () => attempt.destroy());
      attempt.once('error', () => resolve({ status: 0, body: '' }));
      attempt.end(form);
    });
  }

  /** Ends Apache and all that it started; returns what is still there. */
  async stop(): Promise<string[]> {
    const left: string[] = [];
    await this.#apache?.stop().catch((error: unknown) => left.push(String(error)));
    const end = performance.now() + GONE_DEADLINE_MS;
    while (this.#apache !== undefined && remainsIn(this.dir).length > 0 && performance.now() < end)
      await pause(50);
    if (this.#apache !== undefined) left.push(...remainsIn(this.dir));
    rmSync(this.dir, { recursive: true, force: true });
    return left;
  }
}

/** Resolves at the first signal to end; later ones only say that we are at it. */
function askedToEnd(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false;
    const onSignal = (): void => {
      if (asked) say('Still stopping …');
      asked = true;
      resolve();
    };
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);
  });
}

async function main(): Promise<number> {
  const program = new Command('npm run demo --')
    .description('Serves three example apps from a private Apache, until Ctrl-C.')
    .option('--check', 'request each page and a WebSocket, print the results and end')
    .option('--tail', 'follow the error log')
    .option('--port <number>', 'preferred port', String(PREFERRED_PORT))
    .parse();
  const options = program.opts<{ check?: true; tail?: true; port: string }>();
  const ended = askedToEnd();
  const demo = new Demo(makeTemporaryDirectory('passenger-demo-'), await freePort(Number(options.port)));
  let good = true;
  try {
    await demo.start();
    if (options.check === true) {
      good = await demo.check();
    } else {
      demo.describe();
      const unfollow =
        options.tail === true ? followFile(join(demo.dir, 'error.log'), process.stdout) : undefined;
      // Signals alone do not keep a process alive.
      const alive = setInterval(() => undefined, 60_000);
      await ended;
      clearInterval(alive);
      unfollow?.();
    }
  } catch (error) {
    good = false;
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  }
  say('Stopping …');
  const left = await demo.stop();
  for (const thing of left) say(`left behind: ${thing}`);
  if (left.length === 0) say('Stopped, nothing is left behind.');
  return good && left.length === 0 ? 0 : 1;
}

void main().then((code) => {
  process.exitCode = code;
  process.exit();
});
