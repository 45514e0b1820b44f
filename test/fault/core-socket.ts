/**
 * Both ends of the socket between Apache and the core, for tests that attack one of them: bytes sent as Apache's user to the
 * real core, and a stand-in for the core that the real module talks to.
 */
import { spawn } from 'node:child_process';
import { chmodSync, renameSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { patience } from '../support/patience.js';
import { ask } from '../integration/client.js';

export function coreSocket(apache: Apache): string {
  return join(apache.instanceDir(), 'core.d/core.sock');
}

/** What to do on one connection. */
export interface Attack {
  /** Hex; sent one after the other. */
  readonly parts: readonly string[];
  readonly pauseMs?: number;
  /** How long to wait for the core to close; then the connection is left. */
  readonly waitMs?: number;
}

export interface AttackResult {
  /** Hex of what came. */
  readonly received: string;
  readonly closed: boolean;
  readonly ms: number;
}

const ATTACKER = `
const { connect } = require('node:net');
const [, path] = process.argv;
let text = '';
process.stdin.on('data', (part) => (text += part));
process.stdin.on('end', async () => {
  const run = ({ parts, pauseMs = 0, waitMs }) => new Promise((resolve) => {
    const begun = Date.now();
    const got = [];
    const socket = connect(path);
    const finish = (closed) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ received: Buffer.concat(got).toString('hex'), closed, ms: Date.now() - begun });
    };
    const timer = setTimeout(() => finish(false), waitMs);
    socket.on('data', (part) => got.push(part));
    // A full backlog: a little later there is room.
    socket.on('error', (error) => {
      if (error.code !== 'EAGAIN') return finish(true);
      clearTimeout(timer);
      setTimeout(() => run({ parts, pauseMs, waitMs }).then(resolve), 20);
    });
    socket.on('connect', () => socket.on('close', () => finish(true)));
    socket.on('connect', async () => {
      for (const part of parts) {
        if (!socket.writable) return;
        socket.write(Buffer.from(part, 'hex'));
        if (pauseMs > 0) await new Promise((turn) => setTimeout(turn, pauseMs));
      }
    });
  });
  const attacks = JSON.parse(text);
  const results = new Array(attacks.length);
  let next = 0;
  const worker = async () => { for (let at = next++; at < attacks.length; at = next++) results[at] = await run(attacks[at]); };
  await Promise.all(Array.from({ length: Number(process.argv[2]) }, worker));
  process.stdout.write(JSON.stringify(results));
});
`;

/** Runs attacks as Apache's user, `atOnce` of them at a time. */
export function attack(path: string, attacks: readonly Attack[], atOnce = 20): Promise<AttackResult[]> {
  return new Promise((resolve, reject) => {
    const user = ['--reuid=www-data', '--regid=www-data', '--clear-groups'];
    const child = spawn('setpriv', [...user, process.execPath, '-e', ATTACKER, path, String(atOnce)], {
      cwd: '/',
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (part: Buffer) => (text += part.toString()));
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(JSON.parse(text) as AttackResult[]);
      else reject(new Error(`the attacker ended with ${code}`));
    });
    const waitMs = patience(3000);
    child.stdin.end(JSON.stringify(attacks.map((one) => ({ waitMs, ...one }))));
  });
}

/** A listener in the place of the core. Kept connections of the module to the real core stay where they are. */
export class StandIn {
  readonly #sockets = new Set<Socket>();
  readonly #server;

  private constructor(
    private readonly path: string,
    private readonly serve: (socket: Socket) => void,
  ) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#sockets.delete(socket));
      this.serve(socket);
    });
  }

  static async start(apache: Apache, serve: (socket: Socket) => void): Promise<StandIn> {
    const path = coreSocket(apache);
    renameSync(path, `${path}.real`);
    const standIn = new StandIn(path, serve);
    await new Promise<void>((resolve) => standIn.#server.listen(path, resolve));
    chmodSync(path, 0o666);
    return standIn;
  }

  /** The real core is back in its place. */
  stop(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    rmSync(this.path, { force: true });
    renameSync(`${this.path}.real`, this.path);
  }
}

/** The greeting of a child of this Apache, secret and all, and its first REQUEST behind it; no request may have been sent before. */
export async function overhear(apache: Apache, host: string): Promise<{ hello: Buffer; request: Buffer }> {
  const parts: Buffer[] = [];
  const standIn = await StandIn.start(apache, (socket) => {
    socket.on('data', (part) => parts.push(part));
  });
  const all = (): Buffer => Buffer.concat(parts);
  const asked = ask(apache.port, host, '/overheard');
  await eventually(5000, 'a greeting and a request', () => all().length > 72);
  standIn.stop();
  await asked;
  const bytes = all();
  return { hello: bytes.subarray(0, 64), request: bytes.subarray(64, 72 + bytes.readUInt32BE(68)) };
}
