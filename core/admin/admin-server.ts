/**
 * HTTP on the admin socket: read-only views of the instance. The socket file is open to the core's user and root
 * alone, and each connection's peer is checked again (SO_PEERCRED). Called by the command line tools.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Log } from '../base/log.js';

/** One answer, made anew for each request. */
export type View = () => { readonly type: 'text/plain' | 'application/json'; readonly body: string };

export interface AdminServerOptions {
  /** Path (`/pool.json`) → view. */
  readonly views: ReadonlyMap<string, View>;
  /** Whether the peer of a connection, given by its descriptor, may look. */
  readonly isAllowed: (fd: number) => boolean;
  readonly log: Log;
}

/** Idle and slow peers are cut after this time. */
const TIMEOUT_MS = 5_000;
const MAX_CONNECTIONS = 64;

export class AdminServer {
  readonly #server: Server;

  constructor(private readonly options: AdminServerOptions) {
    this.#server = createServer({ maxHeaderSize: 8192 }, (request, response) =>
      this.#answer(request, response),
    );
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.requestTimeout = TIMEOUT_MS;
    this.#server.headersTimeout = TIMEOUT_MS;
    this.#server.keepAliveTimeout = TIMEOUT_MS;
    this.#server.on('connection', (socket) => {
      if (!options.isAllowed(descriptorOf(socket))) {
        options.log.report('PSG8001');
        socket.destroy();
      }
    });
  }

  /** Starts to accept on an inherited listening descriptor. */
  listen(fd: number): void {
    this.#server.listen({ fd });
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    const view = this.options.views.get(path);
    if (view === undefined) return reply(response, 404, 'text/plain', 'not found\n');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return reply(response, 405, 'text/plain', 'only GET is possible here\n');
    }
    const { type, body } = view();
    reply(response, 200, type, body);
  }
}

/** Node keeps the descriptor of a socket in its handle, which has no public type; -1 when it is gone already. */
function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: number } | null };
  return handle?.fd ?? -1;
}

function reply(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'content-type': `${type}; charset=utf-8`,
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}
