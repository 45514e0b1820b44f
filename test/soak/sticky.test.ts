/** Ten thousand polls each of socket.io (cookies) and of SockJS (no cookies) over four processes: no session error. */
import assert from 'node:assert/strict';
import { ask } from '../integration/client.js';
import { appPids, needsPackage, rule } from '../integration/kit.js';
import { talkSocketIo, talkSockJs } from '../integration/polling-clients.js';
import { eventually } from '../support/eventually.js';

const FOUR = 'PassengerStickySessions on\nPassengerMinInstances 4\nPassengerMaxInstances 4';
const POLLS = 10_000;
const CLIENTS = 16;

for (const threads of [1, 2]) {
  for (const [name, app] of [
    ['socket.io', 'socket-io-app'],
    ['SockJS', 'sockjs-app'],
  ] as const) {
    const title = `${POLLS} polls of ${name} over four processes, ${threads} gateway threads`;
    rule(title, { skip: needsPackage('sockjs'), timeoutMs: 540_000 }, async (scene) => {
      const { apache } = await scene.serve(app, FOUR, { server: `PassengerGatewayThreads ${threads}` });
      await ask(apache.port, 'a.test', '/');
      await eventually(20_000, 'four processes', () => appPids(apache).length === 4);
      let polls = 0;
      const client = async (nth: number): Promise<void> => {
        while (polls < POLLS) {
          const keepAlive = nth % 2 === 0;
          polls +=
            name === 'SockJS'
              ? await talkSockJs(apache.port, nth % 3 === 0 ? 'jsonp' : 'xhr', 20, {
                  cookies: false,
                  keepAlive,
                })
              : await talkSocketIo(apache.port, 20, { cookies: true, keepAlive });
        }
      };
      await Promise.all(Array.from({ length: CLIENTS }, (_, nth) => client(nth)));
      assert.ok(polls >= POLLS);
    });
  }
}
