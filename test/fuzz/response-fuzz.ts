/**
 * Differential fuzzer of the reading of apps' answers: whatever our parser takes as a complete answer, node:http (strict)
 * must take too, with the same status, fields and body. The other way round we may refuse what Node takes.
 * Run: node --import tsx test/fuzz/response-fuzz.ts [seconds]; SEED=… repeats a run. Part of `npm run fuzz`, and for a
 * few seconds of the unit tests.
 */
import * as http from 'node:http';
import { Duplex } from 'node:stream';
import { responseHead, type HeadRules } from '../../core/gateway/headers.js';
import { ResponseError } from '../../core/gateway/response-error.js';
import type { RawHead } from '../../core/gateway/response-head.js';
import { ResponseParser } from '../../core/gateway/response-parser.js';
import { Random, mutate, pieces, seedFromEnvironment } from './random.js';

interface Outcome {
  readonly status: number;
  readonly reason: string;
  readonly fields: readonly string[];
  readonly body: string;
  readonly interim: readonly number[];
}

/** What ours made of the bytes; `next` is where the next answer would begin. */
interface Ours extends Outcome {
  readonly next: number;
  readonly ended: boolean;
}

export interface FuzzReport {
  cases: number;
  /** Complete answers for us. */
  accepted: number;
  refused: number;
  /** Longest time for one input, in ms. */
  slowest: number;
  readonly findings: string[];
}

const MAX_INTERIM = 10;

function failIfMany(interim: readonly number[]): void {
  if (interim.length > MAX_INTERIM) throw new ResponseError('interim');
}

/** Reads one answer the way of response-leg.ts. undefined: not complete. @throws ResponseError */
function readOurs(parser: ResponseParser, parts: readonly Buffer[], method: string): Ours | undefined {
  const rules: HeadRules = {
    headMethod: method === 'HEAD',
    upgradeAsked: false,
    poweredBy: 'fuzz',
    stickyCookie: undefined,
  };
  const interim: number[] = [];
  const body: Buffer[] = [];
  let raw: RawHead | undefined;
  let untilClose = false;
  let offset = 0;
  for (const part of parts) {
    let at = 0;
    while (raw === undefined && at < part.length) {
      at = parser.readHead(part, at, part.length);
      const head = parser.head;
      if (head === undefined) break;
      const made = responseHead(head, rules);
      if (head.statusCode < 200) {
        interim.push(head.statusCode);
        failIfMany(interim);
        parser.reset();
        continue;
      }
      raw = head;
      untilClose = made.framing === 'close';
      parser.startBody(made.framing, made.length);
    }
    if (raw !== undefined) {
      parser.readBody(part, at, part.length);
      body.push(Buffer.from(part.subarray(parser.bodyStart, parser.bodyEnd)));
      if (parser.complete) return done(raw, offset + parser.next);
    }
    offset += part.length;
  }
  return raw !== undefined && untilClose ? done(raw, offset) : undefined;

  function done(head: RawHead, next: number): Ours {
    const { statusCode: status, statusMessage: reason, headers: fields } = head;
    return {
      status,
      reason,
      fields,
      body: Buffer.concat(body).toString('latin1'),
      interim,
      next,
      ended: untilClose,
    };
  }
}

/** A connection that brings `bytes` and then ends. */
class Bytes extends Duplex {
  constructor(private readonly bytes: Buffer) {
    super({ allowHalfOpen: true });
  }
  override _read(): void {}
  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    // The answer comes when the request has been written.
    if (!this.readableEnded && this.readable) {
      this.push(this.bytes);
      this.push(null);
    }
    done();
  }
}

/** What node:http makes of the same bytes; a text for a refusal. */
function readNodes(bytes: Buffer, method: string): Promise<Outcome | string> {
  return new Promise((resolve) => {
    const interim: number[] = [];
    const stream = new Bytes(bytes);
    const request = http.request({
      createConnection: () => stream,
      method,
      maxHeaderSize: 1 << 20,
      setHost: false,
      headers: { Host: 'fuzz' },
    });
    request.maxHeadersCount = 0;
    request.on('information', ({ statusCode }) => interim.push(statusCode));
    request.on('upgrade', (_response, socket) => {
      socket.destroy();
      resolve('upgrade');
    });
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    request.on('response', (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', (error) => resolve(error.message));
      response.on('close', () => {
        if (!response.complete) return resolve('incomplete');
        const { statusCode = 0, statusMessage = '', rawHeaders } = response;
        const body = Buffer.concat(parts).toString('latin1');
        resolve({ status: statusCode, reason: statusMessage, fields: rawHeaders, body, interim });
      });
    });
    request.end();
  });
}

/**
 * Where we take what Node does not: after the rewrite, which only takes away what the reason speaks of, Node must agree.
 */
const ALLOWED: readonly { readonly why: string; readonly rewrite: (text: string) => string }[] = [
  {
    why: 'RFC 9110 5.5: tabs around a value are no part of it; for Node they are in the framing fields',
    rewrite: (text) =>
      text.replace(/^(content-length|transfer-encoding):[ \t]*(.*?)[ \t]*(?=\r$)/gim, '$1: $2'),
  },
  {
    why: 'chunk extensions are dropped unread (without control characters, bounded); Node reads their syntax, and refuses some that is legal',
    rewrite: (text) => text.replace(/^([0-9a-f]+);[^\r\n]*(?=\r$)/gim, '$1'),
  },
];

/** Our outcome with the rewrites of what shows in the fields: nothing but white space around a length. */
function withRewrite(ours: Ours): Ours {
  return { ...ours, fields: ours.fields.map((field) => field.trim()) };
}

function differs(ours: Ours, nodes: Outcome | string): string | undefined {
  if (typeof nodes === 'string') return `node:http refuses: ${nodes}`;
  for (const key of ['status', 'reason', 'body'] as const) {
    if (ours[key] !== nodes[key])
      return `${key}: ${JSON.stringify(ours[key])} against ${JSON.stringify(nodes[key])}`;
  }
  for (const key of ['fields', 'interim'] as const) {
    if (JSON.stringify(ours[key]) !== JSON.stringify(nodes[key]))
      return `${key}: ${JSON.stringify(ours[key])} against ${JSON.stringify(nodes[key])}`;
  }
  return undefined;
}

// ---- inputs

const LINES = [
  'HTTP/1.1 200 OK',
  'HTTP/1.1 200 OK',
  'HTTP/1.0 200 OK',
  'HTTP/1.1 200',
  'HTTP/1.1 200 ',
  'HTTP/1.1 999 Odd \xe4',
  'HTTP/1.1 204 No Content',
  'HTTP/1.1 304 Not Modified',
  'HTTP/1.1 404 Not Found',
];
const FIELDS = [
  'Content-Type: text/plain',
  'X-A:  spaced \t ',
  'X-Empty:',
  'x-lower: 1',
  'Set-Cookie: a=b',
  'Set-Cookie: c=d',
  'X-High: \xe4\x8d\x8a\x85',
  'Connection: close',
  'Connection: keep-alive',
  'Connection: X-A',
  'Keep-Alive: timeout=5',
  'Trailer: T',
  'Upgrade: x',
  'Date: Sat, 01 Jan 2028 00:00:00 GMT',
  "!#$%&'*+-.^_`|~: token",
];
const FRAMINGS = [
  'Content-Length: 5',
  'Content-Length: 0',
  'Content-Length: 00005',
  'Content-Length: 5 ',
  'Content-Length:\t5',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: Chunked',
  'transfer-encoding:  chunked ',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: identity',
  'Content-Length: 5\r\nContent-Length: 5',
  'Content-Length: 5\r\nTransfer-Encoding: chunked',
];
const BODIES = [
  'hello',
  '5\r\nhello\r\n0\r\n\r\n',
  '05\r\nhello\r\n0\r\n\r\n',
  '5;a=b\r\nhello\r\n0;c\r\n\r\n',
  '5;a="b c"\r\nhello\r\n0\r\nT: 1\r\n\r\n',
  '1\r\nh\r\n4\r\nello\r\n0\r\nT: 1\r\nU: 2\r\n\r\n',
  'A\r\n0123456789\r\n0\r\n\r\n',
  '5 \r\nhello\r\n0\r\n\r\n',
  '-5\r\nhello\r\n0\r\n\r\n',
  'zz\r\n\r\n',
  '0\r\n\r\n',
  '',
];
const INTERIM = [
  'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 102 \r\n\r\n',
];

function generate(random: Random): string {
  const fields: string[] = [];
  for (let n = random.below(5); n > 0; n -= 1) fields.push(random.pick(FIELDS));
  if (random.chance(0.85)) fields.splice(random.below(fields.length + 1), 0, random.pick(FRAMINGS));
  const head = [random.pick(LINES), ...fields].map((line) => `${line}\r\n`).join('');
  const before = random.chance(0.1) ? random.pick(INTERIM) : '';
  const body = random.pick(BODIES);
  const after = random.chance(0.1) ? `HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison` : '';
  const text = `${before}${head}\r\n${body}${after}`;
  return random.chance(0.7) ? mutate(random, text) : text;
}

// ---- the run

function attempt(
  report: FuzzReport,
  parser: ResponseParser,
  parts: readonly Buffer[],
  method: string,
): Ours | undefined {
  const begun = performance.now();
  try {
    return readOurs(parser, parts, method);
  } catch (error) {
    if (!(error instanceof ResponseError)) throw error;
    return undefined;
  } finally {
    report.slowest = Math.max(report.slowest, performance.now() - begun);
    parser.reset();
  }
}

async function oneCase(report: FuzzReport, random: Random, parser: ResponseParser): Promise<void> {
  const text = generate(random);
  const bytes = Buffer.from(text, 'latin1');
  const method = random.chance(0.1) ? 'HEAD' : 'GET';
  const whole = attempt(report, parser, [Buffer.from(bytes)], method);
  report.cases += 1;
  const finding = (what: string): void => {
    report.findings.push(`${method} ${JSON.stringify(text)}: ${what}`);
  };
  // In any pieces, and once more (a head that comes again is not read again), the answer must be the same.
  for (const parts of [pieces(random, bytes), [Buffer.from(bytes)]]) {
    const again = attempt(report, parser, parts, method);
    if (JSON.stringify(again) !== JSON.stringify(whole))
      finding(`in ${parts.length} pieces ${JSON.stringify(again)}, else ${JSON.stringify(whole)}`);
  }
  if (whole === undefined) {
    report.refused += 1;
    return;
  }
  report.accepted += 1;
  // Bytes behind the answer cost the app its connection; they are no part of the comparison.
  const nodes = await readNodes(bytes.subarray(0, whole.next), method);
  const difference = differs(whole, nodes);
  if (difference === undefined) return;
  const allowed = ALLOWED.reduce((rest, { rewrite }) => rewrite(rest), text.slice(0, whole.next));
  if (allowed === text.slice(0, whole.next)) return finding(difference);
  const remains = differs(withRewrite(whole), await readNodes(Buffer.from(allowed, 'latin1'), method));
  if (remains !== undefined) finding(remains);
}

/** Runs for `budgetMs` or until there are ten findings. */
export async function fuzzResponses(seed: number, budgetMs: number): Promise<FuzzReport> {
  const report: FuzzReport = { cases: 0, accepted: 0, refused: 0, slowest: 0, findings: [] };
  const random = new Random(seed);
  const parser = new ResponseParser();
  const end = performance.now() + budgetMs;
  while (performance.now() < end && report.findings.length < 10) await oneCase(report, random, parser);
  return report;
}

async function main(): Promise<void> {
  const seconds = Number(process.argv[2] ?? '30');
  const seed = seedFromEnvironment();
  process.stdout.write(`response fuzzer: SEED=${seed}, ${seconds} s\n`);
  const { findings, ...counts } = await fuzzResponses(seed, seconds * 1000);
  process.stdout.write(`${JSON.stringify(counts)}\n${findings.join('\n')}\n`);
  if (findings.length > 0) process.exitCode = 1;
}

if (require.main === module) void main();
