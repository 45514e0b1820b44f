/**
 * Clients of tunnels: the packages' own (ws, socket.io-client, sockjs-client), loaded from the fixture apps' packages, with
 * the few types that the tests use, and an upgrade on a raw socket. They know nothing of our processes.
 */
import type { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { eventually } from '../support/eventually.js';
import { RawClient } from './client.js';

const load = createRequire(
  join(process.env['PSG_TEST_APPS'] ?? resolve(__dirname, '../apps'), 'package.json'),
);

/** A client package, with the type that the caller gives it. */
export function clientPackage(name: string): unknown {
  return load(name) as unknown;
}

interface WebSocketClient extends EventEmitter {
  send(data: string | Buffer): void;
  ping(data: string): void;
  close(code?: number, reason?: string): void;
  terminate(): void;
  pause(): void;
  resume(): void;
  readonly readyState: number;
}
type WebSocketClass = new (url: string, options: Record<string, unknown>) => WebSocketClient;

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

/** A WebSocket with everything that came on it. */
export class Chat {
  readonly texts: string[] = [];
  readonly binaries: Buffer[] = [];
  readonly pings: string[] = [];
  readonly pongs: string[] = [];
  closed: Closed | undefined;
  /** Of the 101. */
  cookies: readonly string[] = [];

  private constructor(readonly socket: WebSocketClient) {
    socket.on('message', (data: Buffer, binary: boolean) => {
      if (binary) this.binaries.push(data);
      else this.texts.push(data.toString());
    });
    socket.on('ping', (data: Buffer) => this.pings.push(data.toString()));
    socket.on('pong', (data: Buffer) => this.pongs.push(data.toString()));
    socket.on('close', (code: number, reason: Buffer) => (this.closed = { code, reason: reason.toString() }));
    socket.on('upgrade', (answer: IncomingMessage) => (this.cookies = answer.headers['set-cookie'] ?? []));
    socket.on('error', () => undefined);
  }

  static open(
    port: number,
    path = '/ws',
    options: { tls?: boolean; host?: string; cookie?: string } = {},
  ): Promise<Chat> {
    const WebSocket = clientPackage('ws') as WebSocketClass;
    const { tls = false, host = 'a.test', cookie } = options;
    return new Promise((done, fail) => {
      const socket = new WebSocket(`${tls ? 'wss' : 'ws'}://127.0.0.1:${port}${path}`, {
        headers: { Host: host, ...(cookie === undefined ? {} : { Cookie: cookie }) },
        servername: host,
        rejectUnauthorized: false,
        perMessageDeflate: false,
        handshakeTimeout: 20_000,
      });
      const chat = new Chat(socket);
      socket.once('open', () => done(chat));
      socket.once('error', fail);
    });
  }

  /** Sends a text and waits for the next one that comes. */
  async say(text: string): Promise<string> {
    const before = this.texts.length;
    this.socket.send(text);
    return eventually(10_000, `an answer to ${text.slice(0, 20)}`, () => this.texts[before]);
  }

  ended(deadlineMs = 10_000): Promise<Closed> {
    return eventually(deadlineMs, 'the WebSocket is closed', () => this.closed);
  }
}

/** Asks for an upgrade on a raw socket, `early` in the same write, and waits for the answer's head. */
export async function upgrade(port: number, path: string, early: string | Buffer = ''): Promise<RawClient> {
  const client = await RawClient.open(port);
  const head = `GET ${path} HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n`;
  client.send(Buffer.concat([Buffer.from(head), Buffer.from(early)]));
  await eventually(10_000, 'the head of an answer', () => client.text.includes('\r\n\r\n') || client.ended);
  return client;
}

/** What came behind the head. */
export function behindHead(client: RawClient): string {
  const { text } = client;
  return text.slice(text.indexOf('\r\n\r\n') + 4);
}
