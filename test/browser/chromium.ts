/**
 * A headless Chromium for one test: started with a profile of its own, driven over the DevTools protocol, and ended by the
 * audit with all its processes, also when the test failed. Every host name means this machine to it, so it asks nobody else.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { EventEmitter } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeTemporaryDirectory } from '../../core/cli/staged-root.js';
import { clientPackage } from '../integration/ws-client.js';
import { currentTest, type Audited } from '../support/current-test.js';
import { eventually } from '../support/eventually.js';
import { allProcesses } from '../support/processes.js';

const CHROMIUM = '/usr/bin/chromium';
const START_DEADLINE_MS = 60_000;
const ANSWER_DEADLINE_MS = 30_000;
const POLITE_MS = 5000;

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-breakpad',
  '--disable-dev-shm-usage',
  '--ignore-certificate-errors',
  '--host-resolver-rules=MAP * 127.0.0.1',
  '--remote-debugging-port=0',
];

/** For `skip`: set-up installs the browser only when it is asked to. */
export const NEEDS_CHROMIUM: string | false = existsSync(CHROMIUM)
  ? false
  : 'needs Chromium: npm run test:browser';

interface DebuggerSocket extends EventEmitter {
  send(text: string): void;
  terminate(): void;
}

interface DebuggerMessage {
  readonly id?: number;
  readonly method?: string;
  readonly sessionId?: string;
  readonly params?: unknown;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

interface Evaluation {
  readonly result: { readonly value?: unknown };
  readonly exceptionDetails?: { readonly text: string };
}

export class Chromium implements Audited {
  /** Exceptions of pages that nobody caught. */
  readonly exceptions: string[] = [];
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (message: DebuggerMessage) => void>();
  readonly #endWithUs = (): void => this.#kill();
  #socket: DebuggerSocket | undefined;
  #output = '';
  #lastId = 0;

  private constructor(private readonly profile: string) {
    // A process group of its own: Chromium is many processes.
    this.#child = spawn(CHROMIUM, [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], {
      cwd: '/',
      detached: true,
      env: { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', HOME: profile, TMPDIR: profile },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child.stderr?.on('data', (text: Buffer) => (this.#output += text.toString()));
    this.#child.once('error', (error) => (this.#output += error.message));
    process.once('exit', this.#endWithUs);
  }

  static async start(): Promise<Chromium> {
    const { directories, audited } = currentTest();
    const profile = makeTemporaryDirectory('psg-browser-');
    directories.push(profile);
    const browser = new Chromium(profile);
    audited.push(browser);
    await browser.#connect();
    return browser;
  }

  /** Opens a window of its own, so that no page is in the background. */
  async open(url: string): Promise<Page> {
    const { targetId } = (await this.ask('Target.createTarget', { url, newWindow: true })) as {
      targetId: string;
    };
    const { sessionId } = (await this.ask('Target.attachToTarget', { targetId, flatten: true })) as {
      sessionId: string;
    };
    await this.ask('Runtime.enable', {}, sessionId);
    await this.ask('Emulation.setFocusEmulationEnabled', { enabled: true }, sessionId);
    return new Page(this, sessionId);
  }

  ask(method: string, params: object, sessionId?: string): Promise<unknown> {
    const id = (this.#lastId += 1);
    return new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`no answer to ${method}`)), ANSWER_DEADLINE_MS);
      this.#waiting.set(id, ({ result, error }) => {
        clearTimeout(timer);
        if (error === undefined) done(result);
        else fail(new Error(`${method}: ${error.message}`));
      });
      this.#socket?.send(JSON.stringify({ id, method, params, sessionId }));
    });
  }

  async audit(): Promise<string[]> {
    if (this.#socket !== undefined) await this.ask('Browser.close', {}).catch(() => undefined);
    await eventually(POLITE_MS, 'the browser ends', () => this.#left().length === 0).catch(() => undefined);
    this.#socket?.terminate();
    this.#kill();
    process.off('exit', this.#endWithUs);
    const complaints = this.exceptions.map((text) => `exception in a page: ${text}`);
    await eventually(POLITE_MS, 'all its processes are gone', () => this.#left().length === 0).catch(() =>
      complaints.push(`processes of the browser left: ${this.#left().join(' ')}`),
    );
    return complaints;
  }

  report(): string {
    return this.#output;
  }

  async #connect(): Promise<void> {
    const file = join(this.profile, 'DevToolsActivePort');
    const [port = '', path = ''] = await eventually(START_DEADLINE_MS, 'Chromium listens', () => {
      if (this.#child.exitCode !== null) throw new Error(`Chromium has ended: ${this.#output}`);
      const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : [];
      return lines.length === 2 && lines;
    });
    const WebSocket = clientPackage('ws') as new (url: string) => DebuggerSocket;
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
    await new Promise((done, fail) => socket.once('open', done).once('error', fail));
    socket.on('error', () => undefined);
    socket.on('message', (data: Buffer) => this.#hear(JSON.parse(data.toString()) as DebuggerMessage));
    this.#socket = socket;
  }

  #hear(message: DebuggerMessage): void {
    if (message.method === 'Runtime.exceptionThrown') this.exceptions.push(JSON.stringify(message.params));
    if (message.id === undefined) return;
    this.#waiting.get(message.id)?.(message);
    this.#waiting.delete(message.id);
  }

  /** Pids of its process group, and of helpers that left the group but name the profile. */
  #left(): number[] {
    return allProcesses()
      .filter(({ pid, title }) => groupOf(pid) === this.#child.pid || title.includes(this.profile))
      .map(({ pid }) => pid);
  }

  #kill(): void {
    for (const pid of this.#left()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself in this moment.
      }
    }
  }
}

/** Process group of a process that runs; zombies do not count. */
function groupOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? undefined : Number(group);
  } catch {
    return undefined; // it has ended
  }
}

export class Page {
  constructor(
    private readonly browser: Chromium,
    private readonly session: string,
  ) {}

  /** Value of an expression in the page. */
  async value(expression: string): Promise<unknown> {
    const { result, exceptionDetails } = (await this.browser.ask(
      'Runtime.evaluate',
      { expression, returnByValue: true },
      this.session,
    )) as Evaluation;
    if (exceptionDetails !== undefined) throw new Error(`${expression}: ${exceptionDetails.text}`);
    return result.value;
  }

  /** Text of the first element that the selector names, empty if there is none. */
  async text(selector: string): Promise<string> {
    return String(await this.value(`document.querySelector(${JSON.stringify(selector)})?.textContent ?? ''`));
  }

  /** Types into the field and presses Enter. */
  async type(selector: string, text: string): Promise<void> {
    await this.value(`document.querySelector(${JSON.stringify(selector)}).focus()`);
    await this.browser.ask('Input.insertText', { text }, this.session);
    const key = { key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13, text: '\r' };
    await this.browser.ask('Input.dispatchKeyEvent', { type: 'keyDown', ...key }, this.session);
    await this.browser.ask('Input.dispatchKeyEvent', { type: 'keyUp', ...key }, this.session);
  }
}
