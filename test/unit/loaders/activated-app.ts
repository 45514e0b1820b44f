/**
 * Starts a Node program as the supervisor does: listening Unix socket on descriptor 3, control socket on 4,
 * LISTEN_PID of its own, `node --require preload.cjs`. For tests of the loaders, without supervisor and root.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { linkSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { eventually } from '../../support/eventually.js';

export const LOADERS = path.join(__dirname, '../../../core/loaders');
const DEADLINE_MS = 20_000;

export interface ControlMessage {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface ProgramOptions {
  /** File name of the source: decides between CommonJS and ES modules. */
  readonly name?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly loaders?: string;
  /** An existing program below an app directory instead of a source text. */
  readonly file?: string;
}

/** A listening Unix socket that this process does not accept from: only its descriptor is passed on. */
async function listeningSocket(
  directory: string,
): Promise<{ fd: number; path: string; release: () => void }> {
  const temporary = path.join(directory, 'bound');
  const socketPath = path.join(directory, 'app.sock');
  const server = net.createServer().listen(temporary);
  await new Promise((resolve) => server.once('listening', resolve));
  // Closing removes the name that was bound; the second name stays.
  linkSync(temporary, socketPath);
  const handle = (server as unknown as { _handle: { fd: number } })._handle;
  return { fd: handle.fd, path: socketPath, release: () => void server.close() };
}

export class ActivatedApp {
  readonly messages: ControlMessage[] = [];
  stdout = '';
  stderr = '';
  exit: { code: number | null; signal: string | null } | undefined;

  private constructor(
    readonly child: ChildProcess,
    readonly socketPath: string,
    readonly directory: string,
    readonly control: net.Socket,
  ) {
    let pending = '';
    control.setEncoding('utf8');
    control.on('error', () => undefined);
    control.on('data', (text: string) => {
      const lines = (pending + text).split('\n');
      pending = lines.pop() ?? '';
      this.messages.push(...lines.map((line) => JSON.parse(line) as ControlMessage));
    });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    child.once('close', (code, signal) => (this.exit = { code, signal }));
  }

  static async start(t: TestContext, source: string, options: ProgramOptions = {}): Promise<ActivatedApp> {
    const directory = mkdtempSync(path.join(tmpdir(), 'psg-loader-'));
    const file = options.file ?? path.join(directory, options.name ?? 'app.cjs');
    if (options.file === undefined) writeFileSync(file, source);
    const socket = await listeningSocket(directory);
    const preload = path.join(options.loaders ?? LOADERS, 'preload.cjs');
    const command = [process.execPath, '--require', preload, file, ...(options.args ?? [])];
    const child = spawn('/bin/sh', ['-c', 'LISTEN_PID=$$ exec "$@"', 'sh', ...command], {
      cwd: path.dirname(file),
      stdio: ['ignore', 'pipe', 'pipe', socket.fd, 'pipe'],
      env: {
        PATH: process.env['PATH'],
        LISTEN_FDS: '1',
        PASSENGER_APP_ROOT: path.dirname(file),
        PASSENGER_APP_SOCKET: socket.path,
        ...options.env,
      },
    });
    socket.release();
    const app = new ActivatedApp(child, socket.path, directory, child.stdio[4] as net.Socket);
    t.after(() => app.end());
    return app;
  }

  message(type: string): ControlMessage | undefined {
    return this.messages.find((message) => message.type === type);
  }

  async ready(): Promise<this> {
    await eventually(DEADLINE_MS, `the app is ready\n${this.stderr}`, () => {
      if (this.exit !== undefined)
        throw new Error(`exited early: ${JSON.stringify(this.exit)}\n${this.stderr}`);
      return this.message('ready') !== undefined;
    });
    return this;
  }

  async exited(): Promise<{ code: number | null; signal: string | null }> {
    return eventually(DEADLINE_MS, 'the app exits', () => this.exit);
  }

  async printed(text: string): Promise<void> {
    await eventually(
      DEADLINE_MS,
      `prints ${text}`,
      () => this.stdout.includes(text) || (this.exit !== undefined && this.stdout.includes(text)),
    );
  }

  /** GET over the Unix socket; the body as text. */
  get(target = '/', agent?: http.Agent, headers: http.OutgoingHttpHeaders = {}): Promise<string> {
    return new Promise((resolve, reject) => {
      const request = { socketPath: this.socketPath, path: target, agent: agent ?? false, headers } as const;
      http
        .get(request, (response) => {
          let body = '';
          response.setEncoding('utf8').on('data', (text: string) => (body += text));
          response.on('end', () => resolve(body));
        })
        .on('error', reject);
    });
  }

  shutdown(): void {
    this.control.write('{"type":"shutdown"}\n');
  }

  private end(): void {
    this.child.kill('SIGKILL');
    this.control.destroy();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
