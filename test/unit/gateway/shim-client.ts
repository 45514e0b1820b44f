/** The Apache module's end of the wire protocol, for tests: one connection, one exchange after the other. */
import { connect, type Socket } from 'node:net';
import { FrameDecoder } from '../../../core/wire/decoder.js';
import { encodeFrame, encodeHello, encodeRequest } from '../../../core/wire/encoder.js';
import { FRAME, REQUEST_FLAG } from '../../../core/wire/frames.js';
import { decodeHead, decodeRefusal, type DecodedHead } from '../../../core/wire/head-frame.js';
import { eventually } from '../../support/eventually.js';

export const SECRET = Buffer.alloc(32, 7);
export const TABLE_HASH = '0011223344556677';

export interface RequestOptions {
  readonly method?: string;
  readonly path?: string;
  readonly fields?: string;
  /** Sent at once; absent: no body. */
  readonly body?: Buffer | string;
  /** Announce a body whose frames the test sends itself. */
  readonly bodyFollows?: boolean;
  readonly contentLength?: number;
  readonly upgrade?: boolean;
  readonly silenceMs?: number;
  /** Overrides of the request's settings. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Replayable unless said otherwise, for GET and HEAD. */
  readonly replayable?: boolean;
}

/** What has come back for one exchange so far. */
export class Answer {
  head: DecodedHead | undefined;
  headFlags = 0;
  readonly interim: DecodedHead[] = [];
  readonly data: Buffer[] = [];
  dataBytes = 0;
  accepted = 0;
  end: 'end' | 'abort' | 'closed' | undefined;
  abort: { status: number; code: string } | undefined;

  get body(): string {
    return Buffer.concat(this.data).toString('latin1');
  }

  field(name: string): string | undefined {
    return this.head?.fields.find(([other]) => other.toLowerCase() === name)?.[1];
  }

  get names(): string[] {
    return (this.head?.fields ?? []).map(([name]) => name);
  }
}

export class ShimClient {
  readonly socket: Socket;
  answer = new Answer();
  reject: { status: number; code: string } | undefined;
  closed = false;
  /** Keep the bytes of DATA frames, or only count them. */
  keepData = true;
  /** Called with the bytes of each DATA frame; valid during the call only. */
  onData: ((bytes: Buffer) => void) | undefined;
  #id = 1n;
  readonly #sentSettings = new Set<string>();
  readonly #decoder = new FrameDecoder('core', {
    onFrame: (type, flags, payload) => this.#frame(type, flags, payload),
  });

  constructor(path: string, hello: Partial<Parameters<typeof encodeHello>[0]> | false = {}) {
    this.socket = connect(path);
    this.socket.on('data', (chunk) => this.#decoder.push(chunk));
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.closed = true;
      this.answer.end ??= 'closed';
    });
    if (hello !== false) {
      this.socket.write(encodeHello({ generation: 1, tableHash: TABLE_HASH, secret: SECRET, ...hello }));
    }
  }

  /** Starts an exchange; its answer fills as frames come. */
  send(options: RequestOptions = {}): Answer {
    this.answer = new Answer();
    this.socket.write(this.requestBytes(options));
    return this.answer;
  }

  requestBytes(options: RequestOptions): Buffer {
    const { method = 'GET', path = '/', fields = '', body, bodyFollows = false } = options;
    const settings = Buffer.from(JSON.stringify(options.settings ?? {}));
    const cached = this.#sentSettings.has(settings.toString());
    this.#sentSettings.add(settings.toString());
    let flags = cached ? REQUEST_FLAG.SETTINGS_CACHED : 0;
    if (body === undefined && !bodyFollows && options.upgrade !== true) flags |= REQUEST_FLAG.NO_BODY;
    if (options.contentLength !== undefined) flags |= REQUEST_FLAG.LENGTH_KNOWN;
    if (options.upgrade === true) flags |= REQUEST_FLAG.UPGRADE;
    if (method === 'HEAD') flags |= REQUEST_FLAG.HEAD_METHOD;
    if (options.replayable ?? (method === 'GET' || method === 'HEAD')) flags |= REQUEST_FLAG.REPLAYABLE;
    const frames = [
      encodeRequest({
        flags,
        exchangeId: this.#id++,
        contentLength: options.contentLength ?? 0,
        silenceMs: options.silenceMs ?? 60_000,
        settings,
        cached,
        headerBlock: Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: test\r\n${fields}`, 'latin1'),
      }),
    ];
    if (body !== undefined) frames.push(...bodyFrames(Buffer.from(body)), encodeFrame(FRAME.BODY_END));
    return Buffer.concat(frames);
  }

  body(bytes: Buffer | string): boolean {
    return this.socket.write(Buffer.concat(bodyFrames(Buffer.from(bytes))));
  }

  bodyEnd(): void {
    this.socket.write(encodeFrame(FRAME.BODY_END));
  }

  cancel(reason = 1): void {
    this.socket.write(encodeFrame(FRAME.CANCEL, 0, Buffer.from([reason])));
  }

  /** The whole of one exchange. */
  async request(options: RequestOptions = {}): Promise<Answer> {
    return this.finished(this.send(options));
  }

  async finished(answer: Answer, deadlineMs = 5000): Promise<Answer> {
    await eventually(deadlineMs, 'the exchange ends', () => answer.end !== undefined);
    return answer;
  }

  destroy(): void {
    this.socket.destroy();
  }

  #frame(type: number, flags: number, payload: Buffer): void {
    const { answer } = this;
    switch (type) {
      case FRAME.ACCEPTED:
        answer.accepted += 1;
        return;
      case FRAME.HEAD:
        answer.head = decodeHead(payload);
        answer.headFlags = flags;
        return;
      case FRAME.INTERIM:
        answer.interim.push(decodeHead(payload));
        return;
      case FRAME.DATA:
        answer.dataBytes += payload.length;
        this.onData?.(payload);
        if (this.keepData) answer.data.push(Buffer.from(payload));
        return;
      case FRAME.END:
        answer.end = 'end';
        return;
      case FRAME.ABORT:
        answer.abort = decodeRefusal(payload);
        answer.end = 'abort';
        return;
      default:
        this.reject = decodeRefusal(payload);
    }
  }
}

function bodyFrames(body: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < body.length; at += 65_536)
    frames.push(encodeFrame(FRAME.BODY, 0, body.subarray(at, at + 65_536)));
  return frames;
}
