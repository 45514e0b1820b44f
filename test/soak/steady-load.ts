/** A cheap HTTP client for very many requests: one after the other on each of some connections, answers counted, not kept. */
import { connect } from 'node:net';

export interface Steady {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: Buffer;
}

const HEAD_END = '\r\n\r\n';

function bytesOf({ method, path, body }: Steady): Buffer {
  const length = body === undefined ? '' : `Content-Length: ${body.length}\r\n`;
  const head = Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: a.test\r\n${length}\r\n`);
  return body === undefined ? head : Buffer.concat([head, body]);
}

/** Up to `count` requests on one connection. @returns how many were answered before the server closed it */
function onConnection(port: number, request: Buffer, count: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    let done = 0;
    /** Bytes of the present answer that are still to come; -1 = its head is. */
    let due = -1;
    let begun = '';
    socket.on('connect', () => socket.write(request));
    socket.on('data', (bytes) => {
      let rest = bytes.length;
      if (due < 0) {
        begun += bytes.toString('latin1');
        const end = begun.indexOf(HEAD_END);
        if (end < 0) return;
        if (!begun.startsWith('HTTP/1.1 200')) socket.destroy(new Error(begun.slice(0, end)));
        due = Number(/Content-Length: (\d+)/i.exec(begun)?.[1]);
        rest = begun.length - end - HEAD_END.length;
        begun = '';
      }
      due -= rest;
      if (due > 0) return;
      due = -1;
      done += 1;
      if (done < count) socket.write(request);
      else socket.end();
    });
    // Apache closes kept connections when its workers are busy: with a request on its way that is a reset.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
    socket.on('close', () => {
      if (due < 0 && begun === '') resolve(done);
      else reject(new Error('an answer was broken off'));
    });
  });
}

async function ask(port: number, request: Buffer, count: number): Promise<void> {
  for (let left = count; left > 0;) left -= await onConnection(port, request, left);
}

/** `count` requests in all. @throws Error when an answer is not 200, or not complete */
export async function load(port: number, what: Steady, connections: number, count: number): Promise<void> {
  const request = bytesOf(what);
  const each = Math.ceil(count / connections);
  await Promise.all(Array.from({ length: connections }, () => ask(port, request, each)));
}
