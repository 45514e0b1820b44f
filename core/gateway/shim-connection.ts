/**
 * One connection of the Apache module: the greeting, then one exchange after the other. It knows the order of frames
 * and who has ended what; what a request means is the exchange's business.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import type { ErrorCode } from '../base/error-codes.js';
import { errorRow, PassengerError, type Fields } from '../base/errors.js';
import type { RequestConfig } from '../config/app-config.js';
import { FrameDecoder, type FrameSink } from '../wire/decoder.js';
import { encodeRefusal } from '../wire/encoder.js';
import {
  CANCEL_REASON,
  FRAME,
  MAX_SETTINGS_BLOCKS,
  PROTOCOL_VERSION,
  REQUEST_FLAG,
  WireError,
} from '../wire/frames.js';
import { decodeHello, decodeRequest, settingsHashHalves, type RequestFrame } from '../wire/request-frame.js';
import { descriptorOf } from './accepted-socket.js';
import { queue, queueCopy, writeError, writeNow } from './direct-write.js';
import { Exchange } from './exchange.js';
import type { Gateway } from './gateway.js';
import { HeldRooms, recycleRoom, type Room } from './rooms.js';
import type { CheckoutOptions } from './session-source.js';
import type { ShimLink } from './shim-link.js';

/** What a peer must know to be let in. */
export interface Admission {
  /** 32 bytes. */
  readonly secret: Buffer;
  /** 16 hex digits. */
  readonly tableHash: string;
}

export interface ConnectionOwner {
  readonly admission: Admission;
  /** True while the core drains: no exchange follows the present one. */
  readonly stopping: boolean;
  connectionClosed(connection: ShimConnection): void;
}

/** A settings block that this connection has carried. */
interface KnownSettings {
  readonly high: number;
  readonly low: number;
  readonly config: RequestConfig;
}

const HANDSHAKE_MS = 5_000;
/** The module closes its own idle connections long before. */
const IDLE_MS = 600_000;
/** Unwritten bytes beyond which an app is held back. */
const BACKLOG = 131_072;

export class ShimConnection implements FrameSink, ShimLink {
  shimEnded = true;
  #greeted = false;
  #options: CheckoutOptions = { generation: 0 };
  #closed = false;
  /** The last frame is written; nothing may follow it. */
  #ending = false;
  #paused = false;
  #exchange: Exchange | undefined;
  readonly #held = new HeldRooms();
  /** Bytes that went past the socket's queue. */
  #taken = 0;
  readonly #decoder = new FrameDecoder('shim', this);
  readonly #settings: KnownSettings[] = [];
  /** The block of the request before; nearly always that of the next. */
  #lastSettings: KnownSettings | undefined;
  #socket: Socket | undefined;
  #idleSince: number;

  constructor(
    private readonly gateway: Gateway,
    private readonly owner: ConnectionOwner,
  ) {
    this.#idleSince = gateway.now;
  }

  /** Called once, before the first byte. */
  attach(socket: Socket): void {
    this.#socket = socket;
    socket.on('drain', () => {
      this.#held.settle(socket.writableLength);
      this.#exchange?.shimDrained();
    });
    socket.on('error', () => undefined);
    socket.on('end', () => this.close());
    socket.on('close', () => {
      this.close();
      this.#held.settle(0);
    });
  }

  get idle(): boolean {
    return this.#exchange === undefined;
  }

  /**
   * While we do not read (the app is slower than the client), reading does not tell that the peer has left. One that has
   * closed a tunnel behind END may have done so in good order: its last bytes wait to be read.
   */
  get paused(): boolean {
    return this.#paused && !this.#closed && this.#exchange?.appEnded !== true;
  }

  get descriptor(): number {
    return this.#socket === undefined ? -1 : descriptorOf(this.#socket);
  }

  bytes(bytes: Buffer, count: number): void {
    if (this.#closed) return;
    try {
      this.#decoder.push(bytes, 0, count);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#refuse('PSG3001', { reason: error.message });
    }
  }

  onFrame(type: number, flags: number, payload: Buffer): void {
    if (!this.#greeted) {
      this.#greet(type, payload);
      return;
    }
    if (type === FRAME.REQUEST) this.#request(flags, payload);
    else if (type === FRAME.CANCEL) this.#cancel(payload[0] ?? 0);
    else if (this.#exchange === undefined || this.shimEnded) throw new WireError('BODY outside a request');
    else if (type === FRAME.BODY) this.#exchange.body(payload);
    else if (type === FRAME.BODY_END) {
      this.shimEnded = true;
      this.#exchange.bodyEnd();
      this.#settle();
    } else throw new WireError('second HELLO');
  }

  // ---- for the exchange

  write(bytes: Buffer, room?: Room): void {
    const socket = this.#socket;
    if (this.#closed || this.#ending || socket === undefined) {
      if (room !== undefined) recycleRoom(room);
      return;
    }
    if (room !== undefined) this.#held.hold(room);
    const taken = this.#writeNow(socket, bytes, 0, bytes.length);
    if (taken < bytes.length) queue(socket, taken === 0 ? bytes : bytes.subarray(taken), this.#held);
    else if (room !== undefined) this.#held.settle(socket.writableLength);
  }

  writeLent(bytes: Buffer, start: number, end: number): void {
    const socket = this.#socket;
    if (this.#closed || this.#ending || socket === undefined) return;
    const rest = start + this.#writeNow(socket, bytes, start, end);
    if (rest < end) queueCopy(socket, bytes, rest, end, this.#held);
  }

  /** How many bytes need no further care. */
  #writeNow(socket: Socket, bytes: Buffer, start: number, end: number): number {
    const taken = writeNow(socket, bytes, start, end, this.gateway.send);
    if (taken < 0) {
      socket.destroy(writeError(taken));
      return end - start;
    }
    this.#taken += taken;
    return taken;
  }

  get backlogged(): boolean {
    return !this.#closed && (this.#socket?.writableLength ?? 0) > BACKLOG;
  }

  get taken(): number {
    const socket = this.#socket;
    return socket === undefined ? 0 : this.#taken + socket.bytesWritten - socket.writableLength;
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket?.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (!this.#closed) this.#socket?.resume();
  }

  coreEnded(): void {
    this.#settle();
  }

  finish(): void {
    if (this.shimEnded) this.#settle();
    else if (!this.#closed) this.#endSoftly();
  }

  // ---- for the listener

  /** Called by the sweep. */
  tick(now: number): void {
    if (this.#exchange !== undefined) this.#exchange.tick(now);
    else if (!this.#greeted && now - this.#idleSince > HANDSHAKE_MS) {
      this.gateway.failures.report('PSG3006', {});
      this.close();
    } else if (now - this.#idleSince > IDLE_MS) this.close();
  }

  /** Ends the connection as soon as nothing is under way. */
  stopWhenIdle(): void {
    if (this.idle) this.#endSoftly();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#decoder.stop();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.cancel(CANCEL_REASON.CLIENT_GONE);
    this.#socket?.destroy();
    this.owner.connectionClosed(this);
  }

  #greet(type: number, payload: Buffer): void {
    if (type !== FRAME.HELLO) throw new WireError('first frame is not HELLO');
    const hello = decodeHello(payload);
    const { secret, tableHash } = this.owner.admission;
    // The secret first: who does not know it learns nothing else.
    if (!timingSafeEqual(hello.secret, secret)) this.#refuse('PSG3004', {});
    else if (hello.version !== PROTOCOL_VERSION) this.#refuse('PSG3002', { version: hello.version });
    else if (hello.tableHash !== tableHash)
      this.#refuse('PSG3003', { theirs: hello.tableHash, ours: tableHash });
    else {
      this.#greeted = true;
      this.#options = { generation: hello.generation };
    }
  }

  #request(flags: number, payload: Buffer): void {
    if (this.#exchange !== undefined) throw new WireError('REQUEST before the end of the one before');
    const frame = decodeRequest(flags, payload);
    const config = this.#configOf(frame);
    this.shimEnded = (flags & REQUEST_FLAG.NO_BODY) !== 0;
    if (config instanceof PassengerError) {
      this.gateway.failures.report(config.code, config.details);
      this.write(encodeRefusal(FRAME.ABORT, config.row.status ?? 500, config.code));
      // Without settings nothing can follow: the upload, if any, has nobody to take it.
      this.#endSoftly();
      return;
    }
    const exchange = new Exchange(this, this.gateway, frame, config, this.#options);
    this.#exchange = exchange;
    exchange.start();
  }

  #configOf(frame: RequestFrame): RequestConfig | PassengerError {
    const { hashHigh, hashLow, settings } = frame;
    if (settings !== undefined) return this.#newSettings(hashHigh, hashLow, settings);
    let known = this.#lastSettings;
    if (known === undefined || known.low !== hashLow || known.high !== hashHigh) {
      known = this.#settings.find((other) => other.low === hashLow && other.high === hashHigh);
      if (known === undefined) throw new WireError('SETTINGS_CACHED with an unknown hash');
      this.#lastSettings = known;
    }
    return known.config;
  }

  #newSettings(high: number, low: number, block: Buffer): RequestConfig | PassengerError {
    const [realHigh, realLow] = settingsHashHalves(block);
    if (realHigh !== high || realLow !== low) throw new WireError('hash of the settings block is wrong');
    if (this.#settings.length >= MAX_SETTINGS_BLOCKS) throw new WireError('too many settings blocks');
    try {
      const known = { high, low, config: this.gateway.settings.get(block) };
      this.#settings.push(known);
      this.#lastSettings = known;
      return known.config;
    } catch (error) {
      if (error instanceof PassengerError) return error;
      throw error;
    }
  }

  #cancel(reason: number): void {
    // END and CANCEL may cross on the way.
    if (this.#exchange === undefined) return;
    this.shimEnded = true;
    this.#exchange.cancel(reason);
    this.#settle();
  }

  /** The exchange is over when both sides have ended theirs. */
  #settle(): void {
    if (this.#exchange?.over !== true || !this.shimEnded) return;
    this.#exchange = undefined;
    this.#idleSince = this.gateway.now;
    if (this.owner.stopping) this.#endSoftly();
  }

  #refuse(code: ErrorCode, fields: Fields): void {
    this.gateway.failures.report(code, fields);
    this.write(encodeRefusal(FRAME.REJECT, errorRow(code).status ?? 502, code));
    this.#endSoftly();
  }

  /** Lets what is written go out, then closes. */
  #endSoftly(): void {
    this.#decoder.stop();
    this.#ending = true;
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.cancel(CANCEL_REASON.BODY_BROKEN);
    this.#socket?.end(() => this.close());
  }
}
