/**
 * A WebSocket client on a raw socket that sends exactly the bytes it is told, in exactly the writes it is told, valid or
 * not, and takes apart what comes back frame by frame. For tests of what a tunnel must not change; others use ws-client.ts.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { eventually } from '../support/eventually.js';

export const OPCODES = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
export type Kind = keyof typeof OPCODES;

/** Section 1.3 of RFC 6455. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export interface Door {
  readonly port: number;
  readonly tls: boolean;
}

export interface Frame {
  readonly kind: Kind | 'unknown';
  readonly last: boolean;
  readonly payload: Buffer;
}

function lengthField(length: number): Buffer {
  if (length < 126) return Buffer.from([length]);
  const long = length >= 65_536;
  const field = Buffer.alloc(long ? 9 : 3);
  field[0] = long ? 127 : 126;
  if (long) field.writeBigUInt64BE(BigInt(length), 1);
  else field.writeUInt16BE(length, 1);
  return field;
}

/** A frame as clients send it, with a random mask. */
export function frame(kind: Kind, payload: string | Buffer = '', last = true): Buffer {
  const bytes = Buffer.from(payload);
  const mask = randomBytes(4);
  const length = lengthField(bytes.length);
  length[0] = 0x80 | (length[0] ?? 0);
  const masked = bytes.map((byte, index) => byte ^ (mask[index & 3] ?? 0));
  return Buffer.concat([Buffer.from([(last ? 0x80 : 0) | OPCODES[kind]]), length, mask, masked]);
}

export function closePayload(code: number, reason = ''): Buffer {
  const payload = Buffer.alloc(2);
  payload.writeUInt16BE(code);
  return Buffer.concat([payload, Buffer.from(reason)]);
}

function kindOf(opcode: number): Kind | 'unknown' {
  const kinds = Object.keys(OPCODES) as Kind[];
  return kinds.find((kind) => OPCODES[kind] === opcode) ?? 'unknown';
}

/** The first of a server's frames in `bytes`, with its size there. */
function firstFrame(bytes: Buffer): { frame: Frame; size: number } | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes.readUInt8(1);
  assert.equal(short & 0x80, 0, 'servers do not mask');
  const start = short === 127 ? 10 : short === 126 ? 4 : 2;
  if (bytes.length < start) return undefined;
  const length =
    start === 10 ? Number(bytes.readBigUInt64BE(2)) : start === 4 ? bytes.readUInt16BE(2) : short;
  if (bytes.length < start + length) return undefined;
  const first = bytes.readUInt8(0);
  return {
    frame: {
      kind: kindOf(first & 0x0f),
      last: (first & 0x80) !== 0,
      payload: bytes.subarray(start, start + length),
    },
    size: start + length,
  };
}

export class RawWebSocket {
  /** Frames that came; take() removes them. */
  readonly frames: Frame[] = [];
  ended = false;
  #arrived: Buffer[] = [];
  #unread = Buffer.alloc(0);

  private constructor(private readonly socket: Socket) {
    socket.on('data', (part: Buffer) => this.#arrived.push(part));
    for (const event of ['end', 'close', 'error']) socket.on(event, () => (this.ended = true));
  }

  static async open({ port, tls }: Door): Promise<RawWebSocket> {
    // noDelay: the kernel does not join writes either. Over TLS each write is a record.
    const where = { port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true };
    const socket = tls
      ? connectTls({ ...where, servername: 'a.test', rejectUnauthorized: false })
      : connect(where);
    const client = new RawWebSocket(socket);
    const key = randomBytes(16).toString('base64');
    await client.write(
      Buffer.from(
        `GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
      ),
    );
    const end = await eventually(20_000, 'the answer to the handshake', () => {
      const at = client.#gather().indexOf('\r\n\r\n');
      return at !== -1 && at + 4;
    });
    const head = client.#unread.toString('latin1', 0, end);
    client.#unread = client.#unread.subarray(end);
    const accept = createHash('sha1')
      .update(key + GUID)
      .digest('base64');
    assert.match(head, /^HTTP\/1\.1 101 /);
    assert.ok(head.includes(accept), `the app's answer to the key: ${head}`);
    return client;
  }

  /** One write, handed to the kernel before this returns: Node.js cannot join it with the next one. */
  write(bytes: Buffer): Promise<void> {
    return new Promise((done) => this.socket.write(bytes, () => done()));
  }

  async writeChopped(bytes: Buffer, size: number): Promise<void> {
    for (let at = 0; at < bytes.length; at += size) await this.write(bytes.subarray(at, at + size));
  }

  /** The next frame that came. */
  take(): Promise<Frame> {
    return eventually(20_000, 'a frame', () => {
      this.#parse();
      return this.frames.shift();
    });
  }

  async expect(kind: Kind, payload: string | Buffer): Promise<void> {
    const next = await this.take();
    assert.equal(next.kind, kind);
    assert.equal(next.last, true);
    // Not deepEqual: its message would print a megabyte.
    const same = next.payload.equals(Buffer.from(payload));
    assert.ok(same, `${kind} of ${next.payload.length} bytes: ${next.payload.toString('latin1', 0, 40)}`);
  }

  /** The server ends the connection, and nothing but what was taken has come. */
  async expectEnd(): Promise<void> {
    await eventually(10_000, 'the end of the connection', () => this.ended);
    this.#parse();
    assert.deepEqual(this.frames, []);
    assert.equal(this.#unread.length, 0);
    this.destroy();
  }

  destroy(): void {
    this.socket.destroy();
  }

  #gather(): Buffer {
    if (this.#arrived.length > 0) this.#unread = Buffer.concat([this.#unread, ...this.#arrived]);
    this.#arrived = [];
    return this.#unread;
  }

  #parse(): void {
    let found = firstFrame(this.#gather());
    while (found !== undefined) {
      this.frames.push(found.frame);
      this.#unread = this.#unread.subarray(found.size);
      found = firstFrame(this.#unread);
    }
  }
}
