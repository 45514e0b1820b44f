/** Clients that go away: the app hears of it within a second, whatever the protocol and wherever the answer is stuck. */
import * as http2 from 'node:http2';
import * as tls from 'node:tls';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { serveTls } from './certificate.js';
import { RawClient, ask } from './client.js';
import { rule } from './kit.js';

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: a.test\r\n\r\n`;
}

/** How a client comes and goes. */
interface Visitor {
  ask(path: string): void;
  leave(): void;
}

async function visitor(kind: string, port: number): Promise<Visitor> {
  if (kind.startsWith('h2')) {
    const session = http2.connect(`${kind.startsWith('h2c') ? 'http' : 'https'}://127.0.0.1:${port}`, {
      rejectUnauthorized: false,
      servername: 'a.test',
    });
    session.on('error', () => undefined);
    let stream: http2.ClientHttp2Stream | undefined;
    return {
      ask: (path) => {
        stream = session.request({ ':path': path, ':authority': 'a.test' });
        stream.on('error', () => undefined);
        stream.pause();
      },
      leave: () => {
        if (kind.endsWith('reset')) stream?.close(http2.constants.NGHTTP2_CANCEL);
        else session.destroy();
      },
    };
  }
  if (kind === 'tls') {
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, servername: 'a.test' });
    socket.on('error', () => undefined);
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    socket.pause();
    return { ask: (path) => void socket.write(get(path)), leave: () => socket.destroy() };
  }
  const client = await RawClient.open(port);
  client.socket.pause();
  return { ask: (path) => client.send(get(path)), leave: () => client.close() };
}

interface Told {
  readonly state: string;
  readonly poured: number;
}

async function told(apache: Apache): Promise<Told> {
  return (await ask(apache.port, 'a.test', '/aborted')).json<Told>();
}

/** The reader takes nothing, and what may wait for it is full: the app cannot write any more. */
async function stuck(apache: Apache): Promise<void> {
  await eventually(15_000, 'the answer is stuck', async () => {
    const before = (await told(apache)).poured;
    await new Promise((turn) => setTimeout(turn, 200));
    return before > 0 && (await told(apache)).poured === before;
  });
}

for (const kind of ['http/1.1', 'tls', 'h2', 'h2, stream reset'] as const) {
  for (const limit of [16_777_216, 0]) {
    rule(
      `a client that goes away (${kind}, ${limit > 0 ? 'buffered' : 'not buffered'}): the app is told within a second`,
      {},
      async (scene) => {
        const front = await serveTls(
          scene,
          `Protocols h2 http/1.1\nPassengerResponseBufferHighWatermark ${limit}\nSendBufferSize 32768`,
          ['http2'],
        );
        const { apache } = front;
        await ask(apache.port, 'a.test', '/');
        const state = async (): Promise<string> => (await told(apache)).state;
        // Thinking; pouring without an end to a reader that takes nothing; dripping.
        for (const path of ['/hang', '/pour?n=1000000000000']) {
          const client = await visitor(kind, kind === 'http/1.1' ? apache.port : front.tlsPort);
          client.ask(path);
          await eventually(5000, 'the app has the request', async () => (await state()) === 'hanging');
          // Long enough for the answer to be stuck, and for a part of it to be in the buffer's file.
          if (path !== '/hang') await stuck(apache);
          client.leave();
          await eventually(1200, `${path}: the app was told`, async () => (await state()) === 'aborted');
        }
      },
    );
  }
}
