// The server's side of a WebSocket (RFC 6455) for text messages, as far as a chat needs it: no extensions, no binary
// messages, no subprotocols. Real apps take a package for this; here it shows that nothing but a socket is needed.
const { createHash } = require('node:crypto');
const { EventEmitter } = require('node:events');

/** Fixed by section 1.3: a server that mixes it into the key shows that it understands WebSockets. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const LONGEST_MESSAGE = 64 * 1024;
/** A client that does not read is given up when so much waits for it. */
const MOST_UNSENT = 1024 * 1024;
/** How long a client may take to close its side. */
const CLOSE_DEADLINE_MS = 2000;

const CONTINUATION = 0;
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/** What the client did against the rules, as a close code of section 7.4.1. */
class Refusal extends Error {
  constructor(code, reason) {
    super(reason);
    this.code = code;
  }
}

/** The first frame in `bytes` and its `size` there, undefined as long as it is incomplete. @throws Refusal */
function readFrame(bytes) {
  if (bytes.length < 2) return undefined;
  const last = (bytes[0] & 0x80) !== 0;
  const opcode = bytes[0] & 0x0f;
  let length = bytes[1] & 0x7f;
  if ((bytes[0] & 0x70) !== 0) throw new Refusal(1002, 'no extension was agreed on');
  if ((bytes[1] & 0x80) === 0) throw new Refusal(1002, 'clients mask their frames');
  if (opcode >= CLOSE && (!last || length > 125))
    throw new Refusal(1002, 'control frames are short and whole');
  let start = 2;
  if (length === 126) {
    if (bytes.length < 4) return undefined;
    length = bytes.readUInt16BE(2);
    start = 4;
  } else if (length === 127) {
    if (bytes.length < 10) return undefined;
    length = Number(bytes.readBigUInt64BE(2));
    start = 10;
  }
  if (length > LONGEST_MESSAGE) throw new Refusal(1009, 'the message is too long');
  const size = start + 4 + length;
  if (bytes.length < size) return undefined;
  const mask = bytes.subarray(start, start + 4);
  const payload = Buffer.from(bytes.subarray(start + 4, size));
  for (let index = 0; index < length; index += 1) payload[index] ^= mask[index & 3];
  return { last, opcode, payload, size };
}

/** A whole frame, unmasked as servers send them. */
function frame(opcode, payload) {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  head[1] = length < 126 ? length : length < 65_536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

/** One client. Emits `message` (text) for each message, and `close` once when the connection is gone. */
class WebSocket extends EventEmitter {
  #socket;
  #unread = Buffer.alloc(0);
  /** Payloads of a message that comes in several frames. */
  #parts = [];
  #closing = false;

  constructor(socket, head) {
    super();
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (data) => this.#receive(data));
    socket.on('end', () => socket.end());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.emit('close'));
    // Bytes that came in one piece with the request; the caller has listeners by the time they are read.
    if (head.length > 0) socket.unshift(head);
  }

  send(text) {
    if (this.#closing) return;
    this.#socket.write(frame(TEXT, Buffer.from(text)));
    if (this.#socket.writableLength > MOST_UNSENT) this.#socket.destroy();
  }

  /** Says goodbye; what the client sends from now on is not looked at. */
  close(code, reason = '') {
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code);
    this.#end(Buffer.concat([payload, Buffer.from(reason)]));
  }

  #end(payload) {
    if (this.#closing) return;
    this.#closing = true;
    this.#socket.end(frame(CLOSE, payload));
    setTimeout(() => this.#socket.destroy(), CLOSE_DEADLINE_MS).unref();
  }

  #receive(data) {
    this.#unread = this.#closing ? Buffer.alloc(0) : Buffer.concat([this.#unread, data]);
    try {
      while (!this.#closing) {
        const next = readFrame(this.#unread);
        if (next === undefined) return;
        this.#unread = this.#unread.subarray(next.size);
        this.#take(next);
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.close(error.code, error.message);
    }
  }

  #take({ last, opcode, payload }) {
    if (opcode === PING) this.#socket.write(frame(PONG, payload));
    // A close is answered with the same code.
    else if (opcode === CLOSE) this.#end(payload.length < 2 ? Buffer.alloc(0) : payload.subarray(0, 2));
    else if (opcode === BINARY) throw new Refusal(1003, 'text only, please');
    else if (opcode === TEXT || opcode === CONTINUATION) this.#collect(last, opcode, payload);
    else if (opcode !== PONG) throw new Refusal(1002, 'unknown kind of frame');
  }

  /** Text may come in parts, the first as TEXT, the others as CONTINUATION; control frames may come between them. */
  #collect(last, opcode, payload) {
    if ((opcode === TEXT) !== (this.#parts.length === 0)) throw new Refusal(1002, 'parts out of order');
    this.#parts.push(payload);
    const length = this.#parts.reduce((sum, part) => sum + part.length, 0);
    if (length > LONGEST_MESSAGE) throw new Refusal(1009, 'the message is too long');
    if (!last) return;
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [];
    let text;
    try {
      text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw new Refusal(1007, 'text is UTF-8');
    }
    this.emit('message', text);
  }
}

/** Browsers let any page open a WebSocket to any site; only pages of this site are welcome. Other programs send no Origin. */
function ofThisSite({ headers }) {
  return (
    headers.origin === undefined ||
    (URL.canParse(headers.origin) && new URL(headers.origin).host === headers.host)
  );
}

function refuse(socket, status, field = '') {
  socket.on('error', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n${field}\r\n`);
}

/** For the `upgrade` event of node:http: answers the handshake; undefined if it was refused. */
function acceptWebSocket(request, socket, head) {
  const { upgrade = '', 'sec-websocket-key': key = '', 'sec-websocket-version': version } = request.headers;
  const asked = request.method === 'GET' && upgrade.toLowerCase() === 'websocket';
  if (!asked || Buffer.from(key, 'base64').length !== 16) return void refuse(socket, '400 Bad Request');
  if (version !== '13') return void refuse(socket, '426 Upgrade Required', 'Sec-WebSocket-Version: 13\r\n');
  if (!ofThisSite(request)) return void refuse(socket, '403 Forbidden');
  const answer = createHash('sha1')
    .update(key + GUID)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${answer}\r\n\r\n`,
  );
  return new WebSocket(socket, head);
}

module.exports = { acceptWebSocket };
