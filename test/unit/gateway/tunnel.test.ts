import assert from 'node:assert';
import { test } from 'node:test';
import { eventually } from '../../support/eventually.js';
import { Fixture } from './gateway-fixture.js';

const OK = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello';
test('an upgrade becomes a tunnel whose directions end one by one', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.app((socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhi ');
      socket.on('data', (chunk) => socket.write(chunk));
    });
  });
  const client = fixture.client();
  const answer = client.send({ upgrade: true, fields: 'Connection: Upgrade\r\nUpgrade: echo\r\n' });
  await eventually(1000, 'the tunnel is open', () => answer.head?.status === 101);
  assert.strictEqual(answer.field('upgrade'), 'echo');
  client.body('ping');
  await eventually(1000, 'the echo', () => answer.body === 'hi ping');
  client.bodyEnd();
  assert.strictEqual((await client.finished(answer)).end, 'end');
  await fixture.answering(OK);
  assert.strictEqual((await client.request()).body, 'hello');
});

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n';
const ASK = { upgrade: true, fields: 'Connection: Upgrade\r\nUpgrade: echo\r\n' };

test('a tunnel is cut when its process begins to drain, unless the setting says otherwise', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.app((socket) => socket.once('data', () => socket.write(SWITCH)));
  const client = fixture.client();
  const answer = client.send(ASK);
  await eventually(1000, 'the tunnel is open', () => fixture.gateway.counters.tunnels === 1);
  fixture.source.drainListeners[0]?.();
  assert.strictEqual((await client.finished(answer)).end, 'abort');
  assert.deepStrictEqual(answer.abort, { status: 503, code: 'PSG4021' });
  await eventually(1000, 'the app sees the end', () => fixture.appSockets[0]?.destroyed === true);
  assert.deepStrictEqual(fixture.source.outcomes, ['canceled']);
  assert.strictEqual(fixture.gateway.counters.tunnels, 0);
  const lasting = fixture.client();
  lasting.send({ ...ASK, settings: { abortWebsocketsOnProcessShutdown: false } });
  await eventually(1000, 'the tunnel is open', () => fixture.gateway.counters.tunnels === 1);
  assert.strictEqual(fixture.source.drainListeners.length, 1);
});

test('behind the end of both directions the last bytes still reach the app', async (t) => {
  const fixture = await Fixture.start(t);
  let bytes = 0;
  let ended = false;
  await fixture.app((socket) => {
    socket.once('data', () => {
      socket.end(SWITCH);
      socket.pause();
      setTimeout(() => {
        socket.on('data', (chunk) => (bytes += chunk.length));
        socket.on('end', () => (ended = true));
        socket.resume();
      }, 200);
    });
  });
  const client = fixture.client();
  const answer = client.send(ASK);
  assert.strictEqual((await client.finished(answer)).end, 'end');
  client.body(Buffer.alloc(1 << 20));
  client.bodyEnd();
  client.socket.end();
  await eventually(3000, 'the app has all', () => ended);
  assert.strictEqual(bytes, 1 << 20);
  await eventually(1000, 'the session is given back', () => fixture.source.open === 0);
});

test('when the app has gone for good behind its END the connection to the shim ends', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.app((socket) => socket.once('data', () => socket.end(SWITCH, () => socket.destroy())));
  const client = fixture.client();
  const answer = client.send(ASK);
  assert.strictEqual((await client.finished(answer)).end, 'end');
  client.body('is anybody there?');
  await eventually(2000, 'the connection ends', () => client.closed);
  assert.strictEqual(fixture.source.open, 0);
});
