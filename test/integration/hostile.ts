/**
 * For the batteries of hostile input: raw bytes to a server, and a strict reader of whatever came back that tells complete
 * answers from broken ones. It shares no code with the gateway.
 */
import { createRequire } from 'node:module';
import * as net from 'node:net';
import { join, resolve } from 'node:path';
import type { Apache } from '../support/apache.js';
import { patience } from '../support/patience.js';
import { site, type Scene } from './kit.js';
import { ask } from './client.js';

export interface Talk {
  readonly text: string;
  /** How the server ended the connection; `open` when it was only quiet. */
  readonly end: 'closed' | 'reset' | 'open';
}

export interface TalkOptions {
  /** Gives up waiting when nothing came for so long; on a busy machine somewhat longer, unless it is enough. */
  readonly quietMs?: number;
  /** Asked when it is quiet: whether all that is expected has come. */
  readonly enough?: (talk: Talk) => boolean;
  /** Sent after the answer to `bytes` has begun. */
  readonly pieces?: readonly string[];
}

const PIECE_PAUSE_MS = 30;

/** Sends `bytes` (latin1) and collects until the server closes or is quiet. */
export function converse(port: number, bytes: string, options: TalkOptions = {}): Promise<Talk> {
  return new Promise((done) => {
    const parts: Buffer[] = [];
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let timer: NodeJS.Timeout | undefined;
    let pieces: NodeJS.Timeout | undefined;
    const talk = (end: Talk['end']): Talk => ({ text: Buffer.concat(parts).toString('latin1'), end });
    const finish = (end: Talk['end']): void => {
      clearTimeout(timer);
      clearInterval(pieces);
      socket.destroy();
      done(talk(end));
    };
    const { quietMs = 3000, enough = () => false } = options;
    const quiet = (): void => {
      if (enough(talk('open'))) finish('open');
      else timer = setTimeout(() => finish('open'), patience(quietMs) - quietMs);
    };
    const again = (): void => {
      clearTimeout(timer);
      timer = setTimeout(quiet, quietMs);
    };
    socket.on('connect', () => {
      socket.write(bytes, 'latin1');
      const rest = [...(options.pieces ?? [])];
      if (rest.length === 0) return;
      pieces = setInterval(() => {
        const piece = rest.shift();
        if (piece === undefined) clearInterval(pieces);
        else if (socket.writable) socket.write(piece, 'latin1');
      }, PIECE_PAUSE_MS);
    });
    socket.on('data', (part) => {
      parts.push(part);
      again();
    });
    socket.on('end', () => finish('closed'));
    socket.on('error', () => finish('reset'));
    again();
  });
}

export interface Message {
  readonly version: string;
  readonly status: number;
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  readonly complete: boolean;
  readonly interim: readonly number[];
}

export function fieldOf(message: Message | undefined, name: string): string | undefined {
  return message?.fields.find(([other]) => other.toLowerCase() === name)?.[1];
}

/** All answers in a talk; the last may be incomplete. `methods` are those of the requests, GET where there are more. */
export function messagesOf(talk: Talk, methods: readonly string[] = []): Message[] {
  const found: Message[] = [];
  let interim: number[] = [];
  let at = 0;
  while (at < talk.text.length) {
    const end = talk.text.indexOf('\r\n\r\n', at);
    if (end < 0) {
      found.push({ version: '', status: 0, fields: [], body: talk.text.slice(at), complete: false, interim });
      break;
    }
    const [line = '', ...lines] = talk.text.slice(at, end).split('\r\n');
    at = end + 4;
    const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(line)?.[1] ?? '0');
    if (status >= 100 && status < 200) {
      interim.push(status);
      continue;
    }
    const fields = lines.map((text): readonly [string, string] => {
      const colon = text.indexOf(':');
      return [text.slice(0, colon), text.slice(colon + 1).trim()];
    });
    const base = { version: line.slice(5, 8), status, fields, interim };
    const body = bodyOf(talk, at, status, fields, methods[found.length] ?? 'GET');
    found.push({ ...base, ...body });
    interim = [];
    at = body.next;
    if (!body.complete) break;
  }
  return found;
}

interface Body {
  readonly body: string;
  readonly complete: boolean;
  readonly next: number;
}

function bodyOf(talk: Talk, at: number, status: number, fields: Message['fields'], method: string): Body {
  const { text } = talk;
  const value = (name: string): string | undefined =>
    fields.find(([other]) => other.toLowerCase() === name)?.[1];
  if (method === 'HEAD' || status === 204 || status === 304) return { body: '', complete: true, next: at };
  if (value('transfer-encoding') !== undefined) return chunkedBody(text, at);
  const length = value('content-length');
  if (length === undefined) {
    return { body: text.slice(at), complete: talk.end === 'closed', next: text.length };
  }
  const body = text.slice(at, at + Number(length));
  return { body, complete: body.length === Number(length), next: at + body.length };
}

function chunkedBody(text: string, start: number): Body {
  let body = '';
  for (let at = start; ;) {
    const size = /^([0-9a-f]+)\r\n/i.exec(text.slice(at, at + 20));
    if (size === null) return { body, complete: false, next: text.length };
    const count = Number.parseInt(size[1] ?? '', 16);
    at += size[0].length;
    if (count === 0) {
      const complete = text.startsWith('\r\n', at);
      return { body, complete, next: complete ? at + 2 : text.length };
    }
    body += text.slice(at, at + count);
    at += count;
    if (!text.startsWith('\r\n', at)) return { body, complete: false, next: text.length };
    at += 2;
  }
}

export interface RawAnswer {
  readonly bytes: string | readonly string[];
  readonly then?: string;
}

/** What test/apps/raw-answers can answer with, by name. */
export function rawAnswers(kind: 'REFUSED' | 'BROKEN' | 'PASSED'): Record<string, RawAnswer> {
  const apps = process.env['PSG_TEST_APPS'] ?? resolve(__dirname, '../apps');
  const table = createRequire(__filename)(join(apps, 'raw-answers/answers.js')) as Record<string, unknown>;
  return table[kind] as Record<string, RawAnswer>;
}

/** Apache with test/apps/raw-answers behind `a.test`, warmed up. */
export async function serveRaw(
  scene: Scene,
  options: Parameters<Scene['serve']>[2] = {},
  config = '',
): Promise<Apache> {
  const app = await scene.app('raw-answers');
  const command = `PassengerAppStartCommand "${process.execPath} app.js"`;
  const apache = await scene.start({ vhosts: [site('a.test', app, `${command}\n${config}`)], ...options });
  const first = await ask(apache.port, 'a.test', '/seen');
  if (first.status !== 200) throw new Error(`the app does not answer: ${first.status} ${first.text}`);
  return apache;
}

/** Request lines that have reached the app since this was asked last. */
export async function seenByApp(apache: Apache): Promise<string[]> {
  const answer = await ask(apache.port, 'a.test', '/seen');
  return answer.json<string[]>();
}
