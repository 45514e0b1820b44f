/** socket.io and SockJS over four processes: no poll ever meets a process that does not know its session. */
import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.js';
import { appPids, needsPackage, rule, type Scene } from './kit.js';
import { SOCKJS_TRANSPORTS, talkSocketIo, talkSockJs } from './polling-clients.js';
import { clientPackage } from './ws-client.js';
import { ask } from './client.js';

const FOUR = 'PassengerStickySessions on\nPassengerMinInstances 4\nPassengerMaxInstances 4';
const NEEDS = { skip: needsPackage('sockjs') };

async function four(scene: Scene, appName: string, server: string): Promise<number> {
  const { apache } = await scene.serve(appName, FOUR, { server });
  await ask(apache.port, 'a.test', '/');
  await eventually(20_000, 'four processes', () => appPids(apache).length === 4);
  return apache.port;
}

const sum = (polls: readonly number[]): number => polls.reduce((all, one) => all + one, 0);

for (const server of ['PassengerGatewayThreads 1', 'PassengerGatewayThreads 2']) {
  rule(`socket.io polls four processes with its cookie (${server})`, NEEDS, async (scene) => {
    const port = await four(scene, 'socket-io-app', server);
    const clients = Array.from({ length: 16 }, (_, n) =>
      talkSocketIo(port, 15, { cookies: true, keepAlive: n % 2 === 0 }),
    );
    assert.ok(sum(await Promise.all(clients)) > 450);
  });

  rule(
    `SockJS polls four processes, each transport, with cookies and without (${server})`,
    NEEDS,
    async (scene) => {
      const port = await four(scene, 'sockjs-app', server);
      const clients = SOCKJS_TRANSPORTS.flatMap((transport) =>
        [true, false, false].map((cookies, n) =>
          talkSockJs(port, transport, 12, { cookies, keepAlive: n !== 2 }),
        ),
      );
      assert.ok(sum(await Promise.all(clients)) > 250);
    },
  );
}

interface SocketIoClient {
  on(event: string, listener: (...values: never[]) => void): void;
  emit(event: string, text: string, reply: (answer: string) => void): void;
  close(): void;
}

rule("socket.io's own client stays with polling over four processes", NEEDS, async (scene) => {
  const app = await scene.app('socket-io-app');
  const apache = await scene.start({
    vhosts: [{ name: '127.0.0.1', documentRoot: `${app}/public`, config: FOUR }],
  });
  await ask(apache.port, '127.0.0.1', '/');
  await eventually(20_000, 'four processes', () => appPids(apache).length === 4);
  const { io } = clientPackage('socket.io-client') as {
    io: (url: string, options: Record<string, unknown>) => SocketIoClient;
  };
  const options = { transports: ['polling'], withCredentials: true, forceNew: true, reconnection: false };
  const clients = Array.from({ length: 4 }, () => io(`http://127.0.0.1:${apache.port}`, options));
  const problems: string[] = [];
  try {
    await Promise.all(
      clients.map(async (client) => {
        client.on('connect_error', (error: Error) => void problems.push(error.message));
        client.on('disconnect', (reason: string) => void problems.push(reason));
        for (let round = 0; round < 10; round += 1) {
          const answer = await new Promise<string>((heard) => client.emit('say', String(round), heard));
          assert.equal(answer, `heard ${round}`);
        }
      }),
    );
    assert.deepEqual(problems, []);
  } finally {
    for (const client of clients) client.close();
  }
});
