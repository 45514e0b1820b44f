'use strict';
/**
 * The app's end of the control connection to the core: lines of JSON on an inherited descriptor. It never keeps the
 * app alive, never throws into it and never buffers without bound. Knows nothing of what the messages mean; used by
 * preload.cjs only.
 */
const net = require('node:net');

const MAX_LINE = 64 * 1024;

class ControlChannel {
  #socket;
  #pending = '';

  /**
   * @param fd a connected stream socket that this object owns from now on
   * @param onMessage called with each object that arrives
   * @param onGone called once when nobody holds the other end any more. While a new core takes over, the supervisor
   *   keeps a duplicate of the other end, so a crash of the core alone does not look like this.
   */
  constructor(fd, onMessage, onGone) {
    const socket = new net.Socket({ fd, readable: true, writable: true });
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text) => this.#receive(text, onMessage));
    socket.on('error', () => undefined); // 'close' follows and says all there is to say
    socket.once('close', onGone);
    socket.unref();
  }

  /** Sends a message, or drops it when the connection is gone. The first attempt to write happens before this returns. */
  send(message) {
    if (!this.#socket.destroyed && this.#socket.writable) this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  /** Sends a message that may be lost: nothing queues up while nobody reads. */
  sendIfIdle(message) {
    if (this.#socket.writableLength === 0) this.send(message);
  }

  #receive(text, onMessage) {
    const lines = (this.#pending + text).split('\n');
    this.#pending = lines.pop() ?? '';
    if (this.#pending.length > MAX_LINE) this.#pending = '';
    for (const line of lines) {
      const message = parse(line);
      if (message !== undefined) onMessage(message);
    }
  }
}

function parse(line) {
  try {
    const value = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

module.exports = { ControlChannel };
