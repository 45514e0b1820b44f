/**
 * Runs in a worker of watchdog.test.ts: a gateway with an app that answers with one killer after the other. The main thread
 * looks at the heartbeat, so that also an endless loop is noticed.
 */
import { createRequire } from 'node:module';
import type { TestContext } from 'node:test';
import { parentPort, workerData } from 'node:worker_threads';
import { Fixture } from './gateway-fixture.js';

interface Killer {
  readonly bytes: string | readonly string[];
  readonly then?: string;
}

export interface Order {
  /** [0]: beats so far. */
  readonly beats: SharedArrayBuffer;
}

const HEAD = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${HEAD}Transfer-Encoding: chunked\r\n\r\n`;

/** Beyond those of test/apps/raw-answers: what is legal or nearly so, and much. */
const MUCH: Record<string, Killer> = {
  'a hundred thousand chunks of one byte': { bytes: `${CHUNKED}${'1\r\nx\r\n'.repeat(100_000)}0\r\n\r\n` },
  'a chunk size of zeros': { bytes: `${CHUNKED}${'0'.repeat(200_000)}` },
  'chunks of nothing but extensions': { bytes: `${CHUNKED}${'1;a\r\nx\r\n'.repeat(50_000)}` },
  'a Connection field of 60 KB': {
    bytes: `${HEAD}Connection: ${'a,b,'.repeat(15_000)}\r\nContent-Length: 2\r\n\r\nok`,
  },
  'a thousand Connection fields': {
    bytes: `${HEAD}${'Connection: x, y, z, close\r\n'.repeat(998)}Content-Length: 2\r\n\r\nok`,
  },
  'a Keep-Alive field of 60 KB': {
    bytes: `${HEAD}Keep-Alive: ${'timeout='.repeat(7500)}\r\nContent-Length: 2\r\n\r\nok`,
  },
  'spaces around a length': {
    bytes: `${HEAD}Content-Length: ${' '.repeat(30_000)}2${' '.repeat(30_000)}\r\n\r\nok`,
  },
  'a value of spaces': { bytes: `${HEAD}X-A: ${' '.repeat(64_000)}\r\nContent-Length: 2\r\n\r\nok` },
  'a value of tabs between letters': {
    bytes: `${HEAD}X-A: a${'\t'.repeat(64_000)}b\r\nContent-Length: 2\r\n\r\nok`,
  },
  'a reason of 60 KB': { bytes: `HTTP/1.1 200 ${' x'.repeat(30_000)}\r\nContent-Length: 2\r\n\r\nok` },
  'a thousand empty fields': { bytes: `${HEAD}${'a:\r\n'.repeat(999)}Content-Length: 2\r\n\r\nok` },
  'a head that drips in': {
    bytes: Array.from(`${HEAD}X-A: ${'a'.repeat(3000)}\r\nContent-Length: 2\r\n\r\nok`),
  },
};

async function attack(fixture: Fixture, { bytes, then }: Killer): Promise<string> {
  const parts = typeof bytes === 'string' ? [bytes] : bytes;
  await fixture.app((socket) => {
    socket.once('data', () => {
      let at = 0;
      const next = (): void => {
        const part = parts[at++];
        if (part !== undefined && !socket.destroyed) socket.write(part, 'latin1', () => setImmediate(next));
        else if (then !== 'keep') socket.end();
      };
      next();
    });
  });
  const client = fixture.client();
  client.send({ silenceMs: 1000 });
  const { end } = await client.finished(client.answer, 20_000);
  client.destroy();
  return end ?? '';
}

async function run({ beats }: Order): Promise<void> {
  const beat = new Int32Array(beats);
  setInterval(() => Atomics.add(beat, 0, 1), 5);
  const answers = createRequire(__filename)('../../apps/raw-answers/answers.js') as {
    ALL: Record<string, Killer>;
  };
  const fixture = await Fixture.start({ after: () => undefined } as unknown as TestContext);
  // Warm up: compiling the gateway is no stall of it.
  await attack(fixture, { bytes: `${HEAD}Content-Length: 2\r\n\r\nok` });
  const killers = Object.entries({ ...answers.ALL, ...MUCH });
  for (const [name, killer] of killers) {
    parentPort?.postMessage({ begins: name });
    for (let turn = 0; turn < 2; turn += 1) await attack(fixture, killer);
    parentPort?.postMessage({ ends: name });
  }
  // First, because who hears that it is over ends this thread.
  fixture.stop();
  parentPort?.postMessage({ over: killers.length });
}

void run(workerData as Order);
