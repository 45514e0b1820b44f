/**
 * HTTP clients of the integration tests: one request with everything observable about its answer (`ask`), bytes on
 * a raw socket (`RawClient`), steady load (`Load`) and HTTP/2 (`askH2`). They know nothing of our processes; an
 * answer that breaks off is a result here (`complete: false`), not an exception.
 */
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import * as net from 'node:net';
import type { Readable } from 'node:stream';
import { currentTest } from '../support/current-test.js';
import { eventually } from '../support/eventually.js';

export interface Question {
  readonly method?: string;
  readonly headers?: http.OutgoingHttpHeaders;
  /** A Buffer goes with Content-Length, a stream chunked. */
  readonly body?: Buffer | string | Readable;
  readonly chunked?: boolean;
  readonly agent?: http.Agent;
  readonly tls?: boolean;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Called for each piece of the body with the time since the request began. */
  readonly onData?: (part: Buffer, atMs: number) => void;
}

export class Answer {
  interim: number[] = [];
  complete = false;
  failure = '';
  body: Buffer = Buffer.alloc(0);
  headMs = 0;
  doneMs = 0;
  constructor(
    readonly status: number,
    readonly reason: string,
    readonly headers: http.IncomingHttpHeaders,
    readonly rawHeaders: string[],
    readonly httpVersion: string,
  ) {}

  get text(): string {
    return this.body.toString('utf8');
  }

  json<T>(): T {
    return JSON.parse(this.text) as T;
  }
}

/** Status 0 stands for: the connection ended before any head came. */
function noAnswer(failure: string): Answer {
  const answer = new Answer(0, '', {}, [], '');
  answer.failure = failure;
  return answer;
}

/** One request. Resolves in every case, see `Answer.complete` and `Answer.failure`. */
export function ask(port: number, host: string, path: string, question: Question = {}): Promise<Answer> {
  return new Promise((resolve) => {
    const begun = performance.now();
    const interim: number[] = [];
    const headers: http.OutgoingHttpHeaders = { Host: host, ...question.headers };
    const body = typeof question.body === 'string' ? Buffer.from(question.body) : question.body;
    if (Buffer.isBuffer(body)) {
      if (question.chunked === true) headers['Transfer-Encoding'] = 'chunked';
      else headers['Content-Length'] = body.length;
    }
    const options = {
      host: '127.0.0.1',
      port,
      path,
      method: question.method ?? (body === undefined ? 'GET' : 'POST'),
      headers,
      agent: question.agent ?? false,
      rejectUnauthorized: false,
      servername: host,
      ...(question.signal === undefined ? {} : { signal: question.signal }),
    };
    const request = question.tls === true ? https.request(options) : http.request(options);
    const timer = setTimeout(
      () => request.destroy(new Error('the test waited too long')),
      question.timeoutMs ?? 30_000,
    );
    let answered = false;
    request.on('information', (info) => interim.push(info.statusCode));
    request.on('error', (error) => {
      if (answered) return;
      clearTimeout(timer);
      resolve(noAnswer(error.message));
    });
    request.on('response', (response) => {
      answered = true;
      const answer = new Answer(
        response.statusCode ?? 0,
        response.statusMessage ?? '',
        response.headers,
        response.rawHeaders,
        response.httpVersion,
      );
      answer.interim = interim;
      answer.headMs = performance.now() - begun;
      const parts: Buffer[] = [];
      const done = (failure: string): void => {
        clearTimeout(timer);
        answer.complete = failure === '' && response.complete;
        answer.failure = failure;
        answer.body = Buffer.concat(parts);
        answer.doneMs = performance.now() - begun;
        resolve(answer);
      };
      response.on('data', (part: Buffer) => {
        parts.push(part);
        question.onData?.(part, performance.now() - begun);
      });
      response.on('end', () => done(''));
      response.on('error', (error) => done(error.message));
    });
    if (body === undefined) request.end();
    else if (Buffer.isBuffer(body)) request.end(body);
    else body.pipe(request);
  });
}

/** Bytes out, bytes in, nothing parsed. */
export class RawClient {
  received: Buffer = Buffer.alloc(0);
  ended = false;
  private constructor(readonly socket: net.Socket) {
    socket.on('data', (part: Buffer) => (this.received = Buffer.concat([this.received, part])));
    socket.on('error', () => (this.ended = true));
    socket.on('close', () => (this.ended = true));
    socket.on('end', () => (this.ended = true));
  }

  static open(port: number): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RawClient(socket));
      });
    });
  }

  get text(): string {
    return this.received.toString('latin1');
  }

  send(data: string | Buffer): void {
    this.socket.write(data);
  }

  close(): void {
    this.socket.destroy();
  }
}

/** Sends `data` as it is and returns all that comes until the server closes. */
export async function rawTalk(port: number, data: string, timeoutMs = 10_000): Promise<string> {
  const client = await RawClient.open(port);
  client.send(data);
  const end = performance.now() + timeoutMs;
  while (!client.ended && performance.now() < end) await new Promise((turn) => setTimeout(turn, 5));
  client.close();
  if (!client.ended) throw new Error(`the server did not close within ${timeoutMs} ms: ${client.text}`);
  return client.text;
}

export interface LoadResult {
  readonly requests: number;
  readonly byStatus: Record<string, number>;
  /** Everything that was not a complete 200. */
  readonly failures: string[];
  readonly bodies: Set<string>;
}

const KEPT_FAILURES = 100;

/** `concurrency` clients that ask one request after another, each on a fresh connection, until stopped or the test ends. */
export class Load {
  #stopped = false;
  #requests = 0;
  #byStatus: Record<string, number> = {};
  #failures: string[] = [];
  #bodies = new Set<string>();
  #clients: Promise<void>[];

  constructor(port: number, host: string, path: string, concurrency: number, question: Question = {}) {
    // A test that fails on its way does not get to stop(), and its server refuses all that would still be asked.
    currentTest().audited.push({
      audit: async () => {
        await this.stop();
        return [];
      },
      report: () => `${this.#requests} requests: ${JSON.stringify(this.#byStatus)}`,
    });
    this.#clients = Array.from({ length: concurrency }, () => this.#run(port, host, path, question));
  }

  get requests(): number {
    return this.#requests;
  }

  /** Waits until so many requests have been answered, so that what happened lies in the middle of the load. */
  async reached(requests: number): Promise<void> {
    await eventually(30_000, `${requests} requests`, () => this.#requests >= requests);
  }

  async #run(port: number, host: string, path: string, question: Question): Promise<void> {
    while (!this.#stopped) {
      const answer = await ask(port, host, path, question);
      this.#requests += 1;
      this.#byStatus[answer.status] = (this.#byStatus[answer.status] ?? 0) + 1;
      if (answer.status === 200 && answer.complete) this.#bodies.add(answer.text);
      else if (this.#failures.length < KEPT_FAILURES)
        this.#failures.push(`${answer.status} ${answer.failure} ${answer.text.slice(0, 120)}`);
    }
  }

  async stop(): Promise<LoadResult> {
    this.#stopped = true;
    await Promise.all(this.#clients);
    return {
      requests: this.#requests,
      byStatus: this.#byStatus,
      failures: this.#failures,
      bodies: this.#bodies,
    };
  }
}

export interface H2Answer {
  readonly status: number;
  readonly headers: http2.IncomingHttpHeaders;
  readonly body: Buffer;
  /** Error code of RST_STREAM, 0 (NO_ERROR) when the stream ended well. */
  readonly resetCode: number;
  readonly ended: boolean;
}

/** One request on an HTTP/2 session; a reset of the stream is a result. */
export function askH2(
  session: http2.ClientHttp2Session,
  path: string,
  init: { method?: string; headers?: http2.OutgoingHttpHeaders; body?: Buffer; authority: string },
): Promise<H2Answer> {
  return new Promise((resolve, reject) => {
    const method = init.method ?? (init.body === undefined ? 'GET' : 'POST');
    const stream = session.request({
      ':path': path,
      ':method': method,
      ':authority': init.authority,
      ...init.headers,
    });
    let status = 0;
    let headers: http2.IncomingHttpHeaders = {};
    let ended = false;
    const parts: Buffer[] = [];
    const timer = setTimeout(() => {
      stream.close();
      reject(new Error('no end of the HTTP/2 stream within 20 s'));
    }, 20_000);
    stream.on('response', (head) => {
      status = head[':status'] ?? 0;
      headers = head;
    });
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('end', () => (ended = true));
    stream.on('error', () => undefined);
    stream.on('close', () => {
      clearTimeout(timer);
      resolve({
        status,
        headers,
        body: Buffer.concat(parts),
        resetCode: stream.rstCode ?? 0,
        ended: ended && !stream.aborted,
      });
    });
    if (init.body === undefined) stream.end();
    else stream.end(init.body);
  });
}
