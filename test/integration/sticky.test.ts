/** Sticky sessions through Apache: cookies of all kinds of clients, processes that go, and where the directives stand. */
import assert from 'node:assert/strict';
import * as http2 from 'node:http2';
import { writeFileSync } from 'node:fs';
import type { Apache } from '../support/apache.js';
import { giveTo } from '../support/apps.js';
import { eventually } from '../support/eventually.js';
import { serveTls } from './certificate.js';
import { ask, askH2, rawTalk, type Answer } from './client.js';
import { appPids, corePid, alive, needsPackage, rule, site, type Scene } from './kit.js';
import { Chat } from './ws-client.js';

const STICKY = 'PassengerStickySessions on';
const FOUR = `${STICKY}\nPassengerMinInstances 4\nPassengerMaxInstances 4`;
const DEFAULT = /^_passenger_route=[\w-]{16}; Path=\/; HttpOnly; SameSite=Lax$/;

function cookies(answer: Answer): readonly string[] {
  return answer.headers['set-cookie'] ?? [];
}

/** `NAME=VALUE` of the first cookie that the answer sets. */
function pair(answer: Answer): string {
  return cookies(answer)[0]?.split(';')[0] ?? '';
}

async function served(scene: Scene, config = FOUR, server = ''): Promise<{ apache: Apache; app: string }> {
  const scenery = await scene.serve('probe', config, { server });
  await ask(scenery.apache.port, 'a.test', '/');
  await eventually(20_000, 'four processes', () => appPids(scenery.apache, scenery.app).length === 4);
  return scenery;
}

const ask4 = (apache: Apache, path: string, cookie?: string): Promise<Answer> =>
  ask(apache.port, 'a.test', path, cookie === undefined ? {} : { headers: { Cookie: cookie } });

rule('without the directive nobody gets a cookie', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  assert.deepEqual(cookies(await ask4(apache, '/pid', '_passenger_route=AAAAAAAAAAAAAAAA')), []);
});

rule('a client stays with its process, however it sends its cookie', {}, async (scene) => {
  const { apache } = await served(scene);
  const first = await ask4(apache, '/pid');
  assert.match(cookies(first)[0] ?? '', DEFAULT);
  assert.ok(!pair(first).includes(first.text), 'no pid');
  const route = pair(first);
  const id = route.split('=')[1] ?? '';
  const ways: http2.OutgoingHttpHeaders[string][] = [
    route,
    `a=1; ${route}; b=2`,
    `_passenger_route="${id}"`,
    `_passenger_route=AAAAAAAAAAAAAAAA; ${route}`,
    ['a=1', route],
    [`a="x; y"`, `b=2; ${route}; c=3`, 'd=4'],
  ];
  for (let turn = 0; turn < 3; turn += 1) {
    for (const way of ways) {
      const answer = await ask(apache.port, 'a.test', '/pid', { headers: { Cookie: way } });
      assert.equal(answer.text, first.text, String(way));
      assert.deepEqual(cookies(answer), [], 'it has the right one');
    }
  }
  const several = `GET /pid HTTP/1.1\r\nHost: a.test\r\nCookie: a=1\r\ncookie: ${route}\r\nCOOKIE: b=2\r\nConnection: close\r\n\r\n`;
  for (let turn = 0; turn < 4; turn += 1) {
    const text = await rawTalk(apache.port, several);
    assert.ok(text.endsWith(`\r\n\r\n${first.text}`), text);
  }
  const others = await Promise.all(Array.from({ length: 12 }, () => ask4(apache, '/pid')));
  assert.equal(new Set(others.map(({ text }) => text)).size, 4, 'clients without a cookie are spread');
});

rule('HTTP/2: cookies in one field and in several', {}, async (scene) => {
  const { apache, tlsPort } = await serveTls(scene, `Protocols h2 http/1.1\n${FOUR}`, ['http2']);
  await ask(apache.port, 'a.test', '/');
  const session = http2.connect(`https://127.0.0.1:${tlsPort}`, {
    rejectUnauthorized: false,
    servername: 'a.test',
  });
  session.on('error', () => undefined);
  const authority = 'a.test';
  const first = await askH2(session, '/pid', { authority });
  const [cookie = ''] = first.headers['set-cookie'] ?? [];
  assert.match(cookie, /; Path=\/; HttpOnly; SameSite=Lax; Secure$/);
  const route = cookie.split(';')[0] ?? '';
  for (const way of [route, ['a=1', route], ['a=1', `b=2; ${route}`, 'c=3']]) {
    const answer = await askH2(session, '/pid', { authority, headers: { cookie: way } });
    assert.equal(answer.body.toString(), first.body.toString());
    assert.equal(answer.headers['set-cookie'], undefined);
  }
  session.destroy();
});

rule('Secure exactly where the request came over TLS', {}, async (scene) => {
  const { apache, tlsPort } = await serveTls(scene, STICKY);
  assert.match(cookies(await ask(apache.port, 'a.test', '/'))[0] ?? '', DEFAULT);
  const [tls] = cookies(await ask(tlsPort, 'a.test', '/', { tls: true }));
  assert.match(tls ?? '', /; HttpOnly; SameSite=Lax; Secure$/);
});

rule('the path is the base URI, and apps below each other share a name', {}, async (scene) => {
  const outer = await scene.app('probe');
  const inner = await scene.app('probe');
  const below = `Alias /shop ${inner}/public
<Location /shop>
PassengerBaseURI /shop
PassengerAppRoot ${inner}
</Location>
<Directory ${inner}/public>
Require all granted
</Directory>`;
  const apache = await scene.start({ vhosts: [site('a.test', outer, `${FOUR}\n${below}`)] });
  const one = await ask4(apache, '/pid');
  const two = await ask4(apache, '/shop/pid');
  assert.match(cookies(one)[0] ?? '', /; Path=\/; /);
  assert.match(cookies(two)[0] ?? '', /; Path=\/shop; /);
  await eventually(20_000, 'PassengerMaxPoolSize processes', () => appPids(apache).length === 6);
  for (let turn = 0; turn < 6; turn += 1) {
    const both = await ask4(apache, '/shop/pid', `${pair(one)}; ${pair(two)}`);
    assert.equal(both.text, two.text);
    assert.deepEqual(cookies(both), []);
    assert.equal((await ask4(apache, '/pid', `${pair(two)}; ${pair(one)}`)).text, one.text);
  }
});

rule('cookies of the app pass beside ours, and public answers have none of ours', {}, async (scene) => {
  const { apache } = await scene.serve('probe', STICKY);
  const raw = async (fields: string): Promise<readonly string[]> => {
    const bytes = `HTTP/1.1 200 OK\r\n${fields}Content-Length: 2\r\nConnection: close\r\n\r\nok`;
    return cookies(await ask4(apache, `/raw?hex=${Buffer.from(bytes).toString('hex')}`));
  };
  const own = await raw('Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\n');
  assert.deepEqual(own.slice(0, 2), ['a=1; Path=/', 'b=2']);
  assert.match(own[2] ?? '', DEFAULT);
  assert.deepEqual(await raw('Cache-Control: public, max-age=60\r\n'), []);
  assert.equal((await raw('Cache-Control: public, max-age=0\r\n')).length, 1);
});

rule('name, attributes and the flag can be set in .htaccess, each for its place', {}, async (scene) => {
  const app = await scene.app('probe');
  const config = `<Directory ${app}/public>\nAllowOverride All\n</Directory>`;
  const apache = await scene.start({ vhosts: [site('a.test', app, config)] });
  assert.deepEqual(cookies(await ask4(apache, '/pid')), []);
  writeFileSync(
    `${app}/public/.htaccess`,
    `${STICKY}\nPassengerStickySessionsCookieName __Host-route
PassengerStickySessionsCookieAttributes "Max-Age=600; SameSite=Strict; Secure;"\n`,
  );
  const first = await ask4(apache, '/pid');
  assert.match(
    cookies(first)[0] ?? '',
    /^__Host-route=[\w-]{16}; Path=\/; Max-Age=600; SameSite=Strict; Secure$/,
  );
  const again = await ask4(apache, '/pid', pair(first));
  assert.equal(pair(again), pair(first), 'a cookie that ends is renewed');
  writeFileSync(`${app}/public/.htaccess`, 'PassengerStickySessionsCookieAttributes "a b; c"\n');
  apache.allowLog(/PassengerStickySessionsCookieAttributes/);
  assert.equal((await ask4(apache, '/pid')).status, 500);
  assert.match(
    apache.log(),
    /\.htaccess: PassengerStickySessionsCookieAttributes: 'a b; c' is not attributes/,
  );
});

rule(
  'a WebSocket goes to the process of its cookie; the 101 gives one to who has none',
  { skip: needsPackage('ws') },
  async (scene) => {
    const { apache } = await scene.serve('tunnel-app', FOUR);
    await ask4(apache, '/pid');
    await eventually(20_000, 'four processes', () => appPids(apache).length === 4);
    const first = await ask4(apache, '/pid');
    for (let turn = 0; turn < 6; turn += 1) {
      const chat = await Chat.open(apache.port, '/ws', { cookie: pair(first) });
      assert.equal(await chat.say('pid'), first.text);
      assert.deepEqual(chat.cookies, []);
      chat.socket.terminate();
    }
    const bare = await Chat.open(apache.port);
    assert.match(bare.cookies[0] ?? '', DEFAULT);
    const pid = await bare.say('pid');
    for (let turn = 0; turn < 6; turn += 1) {
      assert.equal((await ask4(apache, '/pid', bare.cookies[0]?.split(';')[0])).text, pid);
    }
    bare.socket.terminate();
  },
);

for (const server of ['PassengerGatewayThreads 1', 'PassengerGatewayThreads 2']) {
  rule(
    `a killed process: its clients go on elsewhere, no request fails (${server})`,
    { root: true },
    async (scene) => {
      const { apache, app } = await served(scene, FOUR, server);
      // The connection that is refused may be faster than the news of the end.
      apache.allowLog(/PSG5005|PSG5011/);
      const first = await ask4(apache, '/pid');
      process.kill(Number(first.text), 'SIGKILL');
      const next = await ask4(apache, '/pid', pair(first));
      assert.equal(next.status, 200);
      assert.notEqual(next.text, first.text);
      assert.match(cookies(next)[0] ?? '', DEFAULT);
      await eventually(10_000, 'four processes', () => appPids(apache, app).length === 4);
      for (let turn = 0; turn < 6; turn += 1) {
        const answer = await ask4(apache, '/pid', pair(next));
        assert.equal(answer.text, next.text);
        assert.deepEqual(cookies(answer), []);
      }
    },
  );
}

rule('a restart: the next request is served by the new code and gets a new cookie', {}, async (scene) => {
  const { apache, app } = await served(scene, FOUR, 'PassengerStatThrottleRate 0');
  const first = await ask4(apache, '/pid');
  writeFileSync(`${app}/tmp/restart.txt`, '');
  giveTo(`${app}/tmp/restart.txt`, 'psgapp1');
  const next = await ask4(apache, '/pid', pair(first));
  assert.equal(next.status, 200);
  assert.notEqual(pair(next), '');
  assert.notEqual(pair(next), pair(first));
  assert.equal((await ask4(apache, '/pid', pair(next))).text, next.text);
});

rule('cookies outlive the core', { root: true }, async (scene) => {
  const { apache } = await served(scene);
  const first = await ask4(apache, '/pid');
  apache.allowLog(/PSG\d{4}/);
  const core = corePid(apache);
  process.kill(core, 'SIGKILL');
  await eventually(15_000, 'another core serves', async () => {
    return !alive(core) && (await ask4(apache, '/')).status === 200;
  });
  for (let turn = 0; turn < 6; turn += 1) {
    const answer = await ask4(apache, '/pid', pair(first));
    assert.equal(answer.text, first.text);
    assert.deepEqual(cookies(answer), []);
  }
});

rule('a busy process: its clients wait for it, others do not', {}, async (scene) => {
  const { apache } = await served(scene, `${FOUR}\nPassengerForceMaxConcurrentRequestsPerProcess 1`);
  const first = await ask4(apache, '/pid');
  const slow = ask4(apache, '/slow?ms=1500', pair(first));
  await new Promise((turn) => setTimeout(turn, 300));
  const mine = ask4(apache, '/pid', pair(first));
  for (let turn = 0; turn < 6; turn += 1) {
    const other = await ask4(apache, '/pid');
    assert.notEqual(other.text, first.text);
    assert.ok(other.doneMs < 1000);
  }
  assert.equal((await mine).text, first.text);
  assert.ok((await mine).doneMs > 600);
  assert.equal((await slow).status, 200);
});
