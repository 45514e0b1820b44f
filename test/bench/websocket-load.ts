/**
 * WebSocket clients in a process of their own: `echo` sends twelve bytes on each connection as soon as the last ones came
 * back; `idle` opens connections, echoes once on each and holds them until its standard input ends. Prints one line of JSON.
 * Run by load.ts: node --import tsx test/bench/websocket-load.ts echo|idle URL connections seconds
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

const [mode = '', url = '', count = '0', seconds = '0'] = process.argv.slice(2);
const { hostname, port, pathname } = new URL(url);
const PAYLOAD = 12;
const ECHO_BYTES = 2 + PAYLOAD;
const OPENING_AT_ONCE = 50;

/** A masked text frame; the mask of zeros is legal. */
const FRAME = Buffer.concat([Buffer.from([0x81, 0x80 | PAYLOAD, 0, 0, 0, 0]), Buffer.alloc(PAYLOAD, 'e')]);
const HANDSHAKE =
  `GET ${pathname} HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';

let echoes = 0;
let stopping = false;
const latencies: number[] = [];

class Client {
  readonly socket: Socket;
  #head = '';
  #open = false;
  #bytes = 0;
  #sentAt = 0;

  /** @param opened hears once whether the first echo came */
  constructor(private readonly opened: (ok: boolean) => void) {
    this.socket = connect({ host: hostname, port: Number(port), noDelay: true });
    this.socket.on('connect', () => this.socket.write(HANDSHAKE));
    this.socket.on('data', (bytes) => this.#data(bytes));
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => this.opened(false));
  }

  send(): void {
    this.#sentAt = performance.now();
    this.socket.write(FRAME);
  }

  #data(bytes: Buffer): void {
    if (!this.#open) {
      this.#head += bytes.toString('latin1');
      if (!this.#head.includes('\r\n\r\n')) return;
      if (!this.#head.startsWith('HTTP/1.1 101')) {
        this.socket.destroy();
        return;
      }
      this.#open = true;
      this.send();
      return;
    }
    this.#bytes += bytes.length;
    if (this.#bytes < ECHO_BYTES) return;
    this.#bytes = 0;
    echoes += 1;
    if (echoes % 16 === 0) latencies.push(performance.now() - this.#sentAt);
    this.opened(true);
    if (mode === 'echo' && !stopping) this.send();
  }
}

function open(): Promise<Client | undefined> {
  return new Promise((resolve) => {
    const client = new Client((ok) => resolve(ok ? client : undefined));
  });
}

async function openAll(): Promise<Client[]> {
  const clients: Client[] = [];
  for (let left = Number(count); left > 0; left -= OPENING_AT_ONCE) {
    const batch = Array.from({ length: Math.min(OPENING_AT_ONCE, left) }, open);
    for (const client of await Promise.all(batch)) if (client !== undefined) clients.push(client);
  }
  return clients;
}

async function main(): Promise<void> {
  const start = performance.now();
  const clients = await openAll();
  if (mode === 'echo') await pause(Math.max(0, Number(seconds) * 1000 - (performance.now() - start)));
  stopping = true;
  const elapsed = (performance.now() - start) / 1000;
  latencies.sort((a, b) => a - b);
  const p50Ms = latencies[Math.floor(latencies.length / 2)] ?? 0;
  const failed = Number(count) - clients.length;
  process.stdout.write(
    `${JSON.stringify({ open: clients.length, failed, echoes, seconds: elapsed, p50Ms })}\n`,
  );
  if (mode === 'idle') await once(process.stdin.resume(), 'end');
  for (const { socket } of clients) socket.destroy();
}

void main().then(() => process.exit(0));
