/** WebSockets and other upgrades on the port of the site, in every MPM, with the packages' own clients and raw sockets. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import type { Mpm } from '../../core/cli/private-apache.js';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { serveTls } from './certificate.js';
import { ask } from './client.js';
import { apacheChildren, fdCount, needsPackage, rule, site } from './kit.js';
import { behindHead, Chat, clientPackage, upgrade } from './ws-client.js';

const MPMS: readonly Mpm[] = ['event', 'worker', 'prefork'];
const NEEDS_WS = { skip: needsPackage('ws') };

interface Seen {
  readonly open: number;
  readonly closes: readonly (readonly [number, string])[];
  readonly half: string;
  readonly early: string;
  readonly ended: number;
  readonly pings: number;
}

async function seen(apache: Apache): Promise<Seen> {
  return (await ask(apache.port, 'a.test', '/seen')).json<Seen>();
}

/** The whole life of a WebSocket: text, binary, large frames, ping and pong both ways, both close codes. */
async function talk(apache: Apache, port: number, tls: boolean): Promise<void> {
  const chat = await Chat.open(port, '/ws', { tls });
  assert.equal(await chat.say('hello'), 'hello');
  const large = Buffer.alloc(1 << 20, 'large ');
  for (let turn = 0; turn < 3; turn += 1) chat.socket.send(large);
  await eventually(20_000, 'three large frames', () => chat.binaries.length === 3);
  assert.ok(chat.binaries.every((data) => data.equals(large)));
  chat.socket.ping('are you there');
  await eventually(5000, 'a pong', () => chat.pongs.includes('are you there'));
  chat.socket.send('ping and you');
  await eventually(5000, 'a ping', () => chat.pings.includes('and you'));
  chat.socket.send('close 4001');
  assert.deepEqual(await chat.ended(), { code: 4001, reason: 'as you wish' });
  const second = await Chat.open(port, '/ws', { tls });
  second.socket.close(4002, 'the client says');
  assert.equal((await second.ended()).code, 4002);
  await eventually(5000, 'the code reaches the app', async () =>
    (await seen(apache)).closes.some(([code, reason]) => code === 4002 && reason === 'the client says'),
  );
}

for (const mpm of MPMS) {
  rule(`ws:// in ${mpm}: frames, pings and close codes pass both ways`, NEEDS_WS, async (scene) => {
    const { apache } = await scene.serve('tunnel-app', '', { mpm });
    await talk(apache, apache.port, false);
  });

  rule(`wss:// in ${mpm}: frames, pings and close codes pass both ways`, NEEDS_WS, async (scene) => {
    const { apache, tlsPort } = await serveTls(scene, '', [], { app: 'tunnel-app', mpm });
    await talk(apache, tlsPort, true);
  });

  rule(`${mpm}: an idle tunnel outlives Timeout and mod_reqtimeout`, NEEDS_WS, async (scene) => {
    const { apache, tlsPort } = await serveTls(
      scene,
      'Timeout 1\nRequestReadTimeout header=1 body=1',
      ['reqtimeout'],
      {
        app: 'tunnel-app',
        mpm,
      },
    );
    const chats = [await Chat.open(apache.port), await Chat.open(tlsPort, '/ws', { tls: true })];
    for (const chat of chats) await chat.say('before');
    await new Promise((turn) => setTimeout(turn, 3000));
    for (const chat of chats) assert.equal(await chat.say('after'), 'after');
    for (const chat of chats) chat.socket.close(1000);
    for (const chat of chats) assert.equal((await chat.ended()).code, 1000);
  });

  rule(`${mpm}: each direction of a tunnel ends for itself`, NEEDS_WS, async (scene) => {
    const { apache } = await scene.serve('tunnel-app', '', { mpm });
    const echo = await upgrade(apache.port, '/echo');
    echo.send('question');
    await eventually(5000, 'an answer', () => behindHead(echo) === 'question');
    echo.socket.end();
    await eventually(
      5000,
      'the last words of the app',
      () => behindHead(echo) === 'questiongoodbye' && echo.ended,
    );
    const half = await upgrade(apache.port, '/half');
    await eventually(5000, 'the end of the app', () => half.ended);
    assert.equal(behindHead(half), 'done');
    half.send('still ');
    await eventually(5000, 'it is heard', async () => (await seen(apache)).half === 'still ');
    half.socket.end('here');
    await eventually(5000, 'all is heard', async () => (await seen(apache)).half === 'still here');
    await eventually(5000, 'the end is heard', async () => (await seen(apache)).ended === 1);
  });

  rule(`${mpm}: bytes behind the upgrade request wait for the 101`, NEEDS_WS, async (scene) => {
    const { apache } = await scene.serve('tunnel-app', '', { mpm });
    const client = await upgrade(apache.port, '/late', 'early');
    await eventually(5000, 'the early bytes come back', () => behindHead(client) === '<early>');
    assert.equal((await seen(apache)).early, '', 'the app sees them behind its 101 only');
    client.close();
  });

  rule(`${mpm}: the app sees within a second that its client is gone`, NEEDS_WS, async (scene) => {
    const { apache } = await scene.serve('tunnel-app', '', { mpm });
    const chat = await Chat.open(apache.port);
    await chat.say('hello');
    assert.equal((await seen(apache)).open, 1);
    chat.socket.terminate();
    await eventually(1000, 'the app sees the end', async () => (await seen(apache)).open === 0);
  });

  rule(
    `${mpm}: a client that reads late gets everything, one that the app lets wait loses nothing`,
    NEEDS_WS,
    async (scene) => {
      const { apache } = await scene.serve('tunnel-app', '', { mpm });
      const total = 8 << 20;
      const reader = await upgrade(apache.port, `/flood?n=${total}`);
      reader.socket.pause();
      await new Promise((turn) => setTimeout(turn, 1000));
      reader.socket.resume();
      await eventually(20_000, 'all bytes', () => reader.received.length >= total);
      assert.equal(behindHead(reader).length, total);
      reader.socket.end();
      const writer = await upgrade(apache.port, '/lazy');
      for (let sent = 0; sent < total; sent += 1 << 20) writer.send(Buffer.alloc(1 << 20));
      writer.socket.end();
      await eventually(20_000, 'the count', () => writer.ended);
      assert.equal(behindHead(writer), String(total));
    },
  );
}

rule('the access log counts the bytes of a tunnel, up and down', NEEDS_WS, async (scene) => {
  const { apache } = await scene.serve('tunnel-app', 'CustomLog bytes.log "%I %O"');
  const echo = await upgrade(apache.port, '/echo');
  const bytes = 'x'.repeat(50_000);
  for (const times of [1, 2, 3]) {
    echo.send(bytes);
    await eventually(5000, 'the echo', () => behindHead(echo).length === times * bytes.length);
  }
  echo.socket.end();
  const line = (): string => {
    const file = join(apache.dir, 'bytes.log');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  };
  await eventually(5000, 'a line of the log', () => line().includes('\n'));
  const [up = 0, down = 0] = line().split(' ').map(Number);
  // The heads, and the app's last words.
  for (const count of [up, down]) assert.ok(count > 150_000 && count < 150_500, line());
});

// Apache would answer the request before the redirect, as it has sent nothing for it.
rule('nothing follows a tunnel whose request was redirected internally', {}, async (scene) => {
  const app = await scene.app('tunnel-app');
  writeFileSync(`${app}/public/.htaccess`, 'RewriteEngine on\nRewriteRule ^front/(.*)$ /$1 [L]\n');
  const apache = await scene.start({
    modules: ['rewrite'],
    server: 'PassengerStatThrottleRate 0',
    vhosts: [site('a.test', app)],
  });
  const client = await upgrade(apache.port, '/front/echo', 'question');
  await eventually(5000, 'the echo', () => behindHead(client) === 'question');
  mkdirSync(`${app}/tmp`, { recursive: true });
  writeFileSync(`${app}/tmp/restart.txt`, '');
  await ask(apache.port, 'a.test', '/pid');
  await eventually(5000, 'the end of the process', () => client.ended);
  assert.equal(behindHead(client), 'question');
});

rule('an upgrade that the app refuses is an ordinary answer', NEEDS_WS, async (scene) => {
  const { apache } = await scene.serve('tunnel-app');
  const client = await upgrade(apache.port, '/refuse');
  assert.match(client.text, /^HTTP\/1\.1 403 /);
  await eventually(5000, 'the body', () => behindHead(client) === 'no!');
  client.close();
});

rule('nobody gets a 101 without asking, and h2c is never asked of an app', NEEDS_WS, async (scene) => {
  const { apache } = await scene.serve('tunnel-app');
  const plain = await ask(apache.port, 'a.test', '/headers', { headers: { Connection: 'close, Upgrade' } });
  assert.equal(plain.status, 200);
  const h2c = await ask(apache.port, 'a.test', '/headers', {
    headers: { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABkAAQAAP__' },
  });
  assert.equal(h2c.status, 200);
  assert.equal(h2c.json<Record<string, string | undefined>>()['upgrade'], undefined);
});

rule('event: 100 tunnels over 4 worker threads, and requests are served', NEEDS_WS, async (scene) => {
  const { apache } = await scene.serve('tunnel-app', '', {
    mpm: 'event',
    server: [
      'StartServers 1\nServerLimit 1\nThreadLimit 4\nThreadsPerChild 4\nMaxRequestWorkers 4',
      'MinSpareThreads 1\nMaxSpareThreads 4\nAsyncRequestWorkerFactor 40\nPassengerMaxWorkerShare 100',
    ].join('\n'),
  });
  apache.allowLog(/AH00484|AH10159/);
  const chats = await Promise.all(Array.from({ length: 100 }, () => Chat.open(apache.port)));
  const answers = await Promise.all(chats.map((chat, index) => chat.say(`I am ${index}`)));
  assert.ok(answers.every((text, index) => text === `I am ${index}`));
  for (let turn = 0; turn < 20; turn += 1)
    assert.equal((await ask(apache.port, 'a.test', '/')).text, 'plain');
  const pids = apacheChildren(apache);
  const open = pids.map(fdCount).reduce((sum, count) => sum + count, 0);
  for (const chat of chats) chat.socket.close(1000);
  await Promise.all(chats.map((chat) => chat.ended()));
  await eventually(10_000, 'their descriptors are closed', () => {
    const now = apacheChildren(apache)
      .map(fdCount)
      .reduce((sum, count) => sum + count, 0);
    return now <= open - 190;
  });
});

rule('the log says when tunnels come near the limit of connections', NEEDS_WS, async (scene) => {
  const { apache } = await scene.serve('tunnel-app', '', {
    mpm: 'event',
    server: [
      'StartServers 1\nServerLimit 1\nThreadLimit 4\nThreadsPerChild 4\nMaxRequestWorkers 4',
      'MinSpareThreads 1\nMaxSpareThreads 4\nAsyncRequestWorkerFactor 3',
    ].join('\n'),
  });
  apache.allowLog(/AH00484|AH10159/);
  const chats: Chat[] = [];
  while (chats.length < 15) chats.push(await Chat.open(apache.port));
  await eventually(5000, 'the notice', () => /PSG1019 .*tunnels=15 limit=16/.test(apache.log()));
  for (const chat of chats) chat.socket.terminate();
});

rule('tunnels are sessions of their process and are counted', NEEDS_WS, async (scene) => {
  const { apache } = await scene.serve('tunnel-app');
  const chats = [await Chat.open(apache.port), await Chat.open(apache.port)];
  assert.match((await status(apache)).pool, /"sessions":2/);
  // Threads tell their counters a few times a second.
  await eventually(5000, 'both are counted', async () => (await status(apache)).gateway.tunnels === 2);
  for (const chat of chats) chat.socket.close(1000);
  await eventually(5000, 'none is left', async () => (await status(apache)).gateway.tunnels === 0);
});

function askSocket(socketPath: string, path: string): Promise<string> {
  return new Promise((done, fail) => {
    request({ socketPath, path }, (response) => {
      let text = '';
      response.on('data', (part: Buffer) => (text += part.toString()));
      response.once('end', () => done(text));
    })
      .once('error', fail)
      .end();
  });
}

/** What the core says of itself. */
async function status(apache: Apache): Promise<{ gateway: { tunnels: number }; pool: string }> {
  const socketPath = `${apache.instanceDir()}/core.d/admin.sock`;
  const gateway = (await askSocket(socketPath, '/gateway.json')).trim();
  return {
    gateway: JSON.parse(gateway) as { tunnels: number },
    pool: await askSocket(socketPath, '/pool.json'),
  };
}

interface SocketIoClient {
  on(event: string, listener: (...values: never[]) => void): void;
  emit(event: string, text: string, reply: (answer: string) => void): void;
  close(): void;
  readonly io: { readonly engine: { readonly transport: { readonly name: string } } };
}

rule(
  'socket.io begins with polling and moves on to WebSocket',
  { skip: needsPackage('socket.io-client') },
  async (scene) => {
    const app = await scene.app('socket-io-app');
    // The client has no way to name another Host.
    const config = 'PassengerStickySessions on';
    const apache = await scene.start({
      vhosts: [{ name: '127.0.0.1', documentRoot: `${app}/public`, config }],
    });
    const { io } = clientPackage('socket.io-client') as {
      io: (url: string, options: Record<string, unknown>) => SocketIoClient;
    };
    const client = io(`http://127.0.0.1:${apache.port}`, { reconnection: false });
    try {
      let welcomed = false;
      client.on('welcome', () => (welcomed = true));
      await eventually(10_000, 'a welcome', () => welcomed);
      await eventually(10_000, 'the upgrade', () => client.io.engine.transport.name === 'websocket');
      let answer = '';
      client.emit('say', 'hi', (text) => (answer = text));
      await eventually(5000, 'an answer', () => answer === 'heard hi');
    } finally {
      client.close();
    }
  },
);

interface SockJs {
  onmessage: (event: { data: string }) => void;
  onclose: (event: { code: number }) => void;
  send(text: string): void;
  close(): void;
  readonly transport: string;
}

for (const transport of ['websocket', 'xhr-streaming', 'xhr-polling']) {
  rule(`sockjs talks over ${transport}`, { skip: needsPackage('sockjs-client') }, async (scene) => {
    const app = await scene.app('sockjs-app');
    const apache = await scene.start({ vhosts: [{ name: '127.0.0.1', documentRoot: `${app}/public` }] });
    const Client = clientPackage('sockjs-client') as new (
      url: string,
      protocols: null,
      options: unknown,
    ) => SockJs;
    const client = new Client(`http://127.0.0.1:${apache.port}/sockjs`, null, { transports: [transport] });
    const heard: string[] = [];
    let closed = false;
    client.onmessage = ({ data }) => void heard.push(data);
    client.onclose = () => (closed = true);
    await eventually(10_000, 'a greeting', () => heard.length === 1);
    client.send('one');
    client.send('two');
    await eventually(10_000, 'the echo', () => heard.length === 3);
    assert.deepEqual(heard.slice(1), ['one', 'two']);
    assert.equal(client.transport, transport);
    client.close();
    await eventually(5000, 'the end', () => closed);
  });
}
