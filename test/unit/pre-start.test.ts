/** PassengerPreStart: URLs are asked at this machine, a few at a time, and failures are said once. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { Log, LogThreshold } from '../../core/base/log.js';
import { PreStart } from '../../core/instance/pre-start.js';
import { eventually } from '../support/eventually.js';
import { FakeClock } from '../support/fake-clock.js';

interface Bench {
  readonly port: number;
  readonly clock: FakeClock;
  readonly preStart: PreStart;
  readonly lines: string[];
  readonly asked: string[];
  readonly open: ServerResponse[];
  readonly close: () => void;
}

async function bench(
  answer?: (request: IncomingMessage, response: ServerResponse) => void,
  pem?: string,
): Promise<Bench> {
  const asked: string[] = [];
  const open: ServerResponse[] = [];
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    asked.push(`${request.method} ${request.headers.host?.replace(/:\d+$/, '')} ${request.url}`);
    if (answer === undefined) open.push(response);
    else answer(request, response);
  };
  const server =
    pem === undefined ? createServer(listener) : createTlsServer({ key: pem, cert: pem }, listener);
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const lines: string[] = [];
  const clock = new FakeClock();
  const sink = { write: (_level: string, _room: string, text: string) => lines.push(text) };
  return {
    port: (server.address() as AddressInfo).port,
    clock,
    preStart: new PreStart(clock, new Log('core', sink, new LogThreshold(4))),
    lines,
    asked,
    open,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

test('each URL is asked with HEAD at this machine, under its own name, after the delay', async () => {
  const { port, clock, preStart, asked, lines, close } = await bench((_request, response) => response.end());
  preStart.run([`http://a.test:${port}/shop/?q=1`], 2000);
  clock.advance(1999);
  assert.equal(clock.pending, 1);
  clock.advance(1);
  await eventually(5000, 'the answer', () => lines.length > 0);
  assert.deepEqual(asked, ['HEAD a.test /shop/?q=1']);
  assert.match(lines[0] ?? '', /PreStart answers/);
  close();
});

test('over TLS the certificate does not matter, and the name is told', async () => {
  const kind = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=other.test'];
  const pem = execFileSync('openssl', ['req', ...kind, '-keyout', '-', '-out', '-'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const { port, clock, preStart, asked, lines, close } = await bench(
    (_request, response) => response.end(),
    pem,
  );
  preStart.run([`https://a.test:${port}/`], 0);
  clock.advance(0);
  await eventually(5000, 'the answer', () => lines.length > 0);
  assert.deepEqual(asked, ['HEAD a.test /'], lines.join());
  close();
});

test('four at a time, and a newer round ends an older one', async () => {
  const { port, clock, preStart, asked, open, close } = await bench();
  preStart.run(
    Array.from({ length: 9 }, (_, index) => `http://old.test:${port}/${index}`),
    0,
  );
  clock.advance(0);
  await eventually(5000, 'four requests', () => open.length === 4);
  preStart.run([`http://new.test:${port}/`], 0);
  clock.advance(0);
  await eventually(5000, 'the newer one', () => asked.includes('HEAD new.test /'));
  for (const response of open) response.end();
  await new Promise((turn) => setTimeout(turn, 100));
  assert.equal(asked.length, 5);
  close();
});

const failures: [what: string, url: (port: number) => string, detail: RegExp][] = [
  ['an error of the server', (port) => `http://a.test:${port}/`, /status 503/],
  ['a port at which nobody listens', () => 'http://a.test:1/', /ECONNREFUSED/],
  ['no URL', () => 'shop', /URL/],
  ['another protocol', () => 'ftp://a.test/', /neither http nor https/],
];
for (const [what, url, detail] of failures) {
  test(`${what} costs one line`, async () => {
    const { port, clock, preStart, lines, close } = await bench((_request, response) => {
      response.statusCode = 503;
      response.end();
    });
    preStart.run([url(port)], 0);
    clock.advance(0);
    await eventually(5000, 'the line', () => lines.length > 0);
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /PSG8003/);
    assert.match(lines[0] ?? '', detail);
    close();
  });
}
