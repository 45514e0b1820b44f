/**
 * The battery of bad answers (B1 to B22) through the real Apache, to clients of every kind: HTTP/1.0, HTTP/1.1 that closes,
 * HTTP/1.1 with a second request behind the first, and HTTP/2. Whatever an app sends, no client sees an unfinished answer
 * as finished, and no byte of one answer in another.
 */
import assert from 'node:assert/strict';
import * as http2 from 'node:http2';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { RawClient, ask, askH2 } from './client.js';
import { type Message, converse, fieldOf, messagesOf, rawAnswers, serveRaw } from './hostile.js';
import { type Scene, corePid, rssKb, rule } from './kit.js';

/** The same for all answers of this battery: they are the tests' subject. */
const PROVOKED = /PSG400\d/;

async function serve(scene: Scene, h2 = false): Promise<Apache> {
  const apache = await serveRaw(scene, h2 ? { server: 'Protocols h2c http/1.1', modules: ['http2'] } : {});
  apache.allowLog(PROVOKED);
  return apache;
}

function request(path: string, fields = '', version = '1.1', method = 'GET'): string {
  return `${method} ${path} HTTP/${version}\r\nHost: a.test\r\n${fields}\r\n`;
}

function isErrorPage(message: Message | undefined, what: string): void {
  assert.equal(message?.status, 502, `${what}: ${JSON.stringify(message)}`);
  assert.ok(message.complete, what);
  assert.match(message.body, /PSG400[1-4]/, what);
  assert.equal(fieldOf(message, 'cache-control'), 'no-store', what);
}

/** A second request that no answer of the battery belongs to. */
function goodPath(name: string): string {
  return `/good/${Buffer.from(name).toString('hex')}`;
}

/** No answer of the battery sets a cookie of this name, unless bytes of a value have become a line. */
function holdsNothingForeign(text: string, what: string): void {
  assert.ok(!/^set-cookie: stolen/im.test(text), what);
  assert.ok(!text.includes('poison') && !text.includes('secret tunnel'), `${what}: ${text.slice(0, 400)}`);
}

rule(
  'invalid answers become one complete 502 page for every kind of client',
  { timeoutMs: 180_000 },
  async (scene) => {
    const apache = await serve(scene);
    for (const name of Object.keys(rawAnswers('REFUSED'))) {
      const path = `/answer/${name}`;
      const old = await converse(apache.port, request(path, '', '1.0'));
      isErrorPage(messagesOf(old)[0], `${name}, HTTP/1.0`);
      const closing = await converse(apache.port, request(path, 'Connection: close\r\n'));
      const [page, ...others] = messagesOf(closing);
      isErrorPage(page, `${name}, close`);
      assert.equal(others.length, 0, `${name}: one page only`);
      const kept = await converse(
        apache.port,
        request(path) + request(goodPath(name), 'Connection: close\r\n'),
      );
      const [first, second, ...more] = messagesOf(kept);
      isErrorPage(first, `${name}, pipelined`);
      assert.equal(second?.status, 200, `${name}, second: ${kept.text}`);
      assert.equal(second.body, goodPath(name), name);
      assert.equal(more.length, 0, name);
      for (const { text } of [old, closing, kept]) holdsNothingForeign(text, name);
    }
  },
);

rule(
  'answers that break off never look complete, and nothing follows them',
  { timeoutMs: 180_000 },
  async (scene) => {
    const apache = await serve(scene);
    for (const [name, { bytes }] of Object.entries(rawAnswers('BROKEN'))) {
      const path = `/answer/${name}`;
      for (const [kind, text] of [
        ['HTTP/1.0', request(path, '', '1.0')],
        ['close', request(path, 'Connection: close\r\n')],
        ['pipelined', request(path) + request(goodPath(name))],
      ] as const) {
        const talk = await converse(apache.port, text);
        const found = messagesOf(talk);
        assert.equal(found.length, 1, `${name}, ${kind}: ${talk.text}`);
        assert.equal(found[0]?.status, 200, `${name}, ${kind}`);
        assert.equal(found[0].complete, false, `${name}, ${kind}: ${talk.text}`);
        assert.notEqual(talk.end, 'open', `${name}, ${kind}: the connection is closed`);
        assert.match(String(bytes), new RegExp(found[0].body.slice(0, 5)), name);
        holdsNothingForeign(talk.text, name);
      }
    }
    assert.equal((await ask(apache.port, 'a.test', '/good/end')).text, '/good/end');
  },
);

interface Expected {
  readonly status?: number;
  readonly body?: string;
  readonly method?: string;
  /** Interim statuses that reach HTTP/1.1. */
  readonly interim?: readonly number[];
  readonly has?: Readonly<Record<string, string | undefined>>;
}

const SPECIAL: Readonly<Record<string, Expected>> = {
  'B12-600': { status: 600 },
  'B12-999': { status: 999 },
  'B13-103': { interim: [103] },
  'B13-103-typed': { interim: [103], has: { 'content-type': undefined, 'x-early': undefined } },
  'B13-ten': { interim: Array<number>(10).fill(103), has: { 'x-early': undefined } },
  'B15-204': { status: 204, body: '' },
  'B15-304': { status: 304, body: '', has: { etag: '"x"' } },
  'B15-head': { method: 'HEAD', body: '', has: { 'content-length': '45' } },
  'B17-hop-by-hop': {
    has: {
      'x-secret': undefined,
      'proxy-authenticate': undefined,
      'proxy-connection': undefined,
      te: undefined,
      trailer: undefined,
      'x-kept': '1',
    },
  },
  'B18-internal': { has: { '!~request-oob-work': undefined, status: '200 OK' } },
  'B19-60-kb': { has: { 'x-a': 'a'.repeat(60_000) } },
  'B20-trailers': { has: { 'x-trailer': undefined, 'set-cookie': undefined } },
  'splitting-8d8a': { has: { 'x-a': 'a\x8d\x8aSet-Cookie: stolen=1\x8d\x8a', 'set-cookie': undefined } },
  'splitting-utf-8': { has: { 'set-cookie': undefined } },
  'empty-value': { has: { 'x-a': '' } },
};

function isExpected(message: Message | undefined, name: string, version: string): void {
  const { status = 200, body = 'ok', interim = [], has = {} } = SPECIAL[name] ?? {};
  const what = `${name}, ${version}: ${JSON.stringify(message)?.slice(0, 600)}`;
  assert.equal(message?.status, status, what);
  assert.equal(message.body, body, what);
  assert.ok(message.complete, what);
  assert.deepEqual(message.interim, version === '1.0' ? [] : interim, what);
  for (const [field, value] of Object.entries(has)) assert.equal(fieldOf(message, field), value, what);
}

rule('answers that are odd but legal pass, each in its place', { timeoutMs: 180_000 }, async (scene) => {
  const apache = await serve(scene);
  for (const name of Object.keys(rawAnswers('PASSED'))) {
    const method = SPECIAL[name]?.method ?? 'GET';
    const path = `/answer/${name}`;
    const old = await converse(apache.port, request(path, '', '1.0', method));
    isExpected(messagesOf(old, [method])[0], name, '1.0');
    const closing = await converse(apache.port, request(path, 'Connection: close\r\n', '1.1', method));
    isExpected(messagesOf(closing, [method])[0], name, '1.1');
    const kept = await converse(
      apache.port,
      request(path, '', '1.1', method) + request(goodPath(name), 'Connection: close\r\n'),
    );
    const [first, second, ...more] = messagesOf(kept, [method]);
    isExpected(first, name, '1.1');
    assert.equal(second?.body, goodPath(name), `${name}: ${kept.text.slice(0, 600)}`);
    assert.equal(more.length, 0, name);
    for (const { text } of [old, closing, kept]) holdsNothingForeign(text, name);
  }
});

// While the next request is under way on the connection nothing can tell such bytes from its answer: they are the app's own.
rule(
  'bytes that come on an idle connection cost the app the connection, and answer nobody',
  {},
  async (scene) => {
    const apache = await serve(scene);
    for (let turn = 0; turn < 5; turn += 1) {
      assert.equal((await ask(apache.port, 'a.test', '/answer/B16-poison-later')).text, 'ok');
      await new Promise((wait) => setTimeout(wait, 400));
      for (const name of ['one', 'two'])
        assert.equal((await ask(apache.port, 'a.test', `/good/${name}`)).text, `/good/${name}`);
    }
  },
);

rule('990 cookies arrive, in the app’s order', {}, async (scene) => {
  const apache = await serve(scene);
  const talk = await converse(apache.port, request('/answer/B19-cookies', 'Connection: close\r\n'));
  const [answer] = messagesOf(talk);
  const cookies = answer?.fields.filter(([name]) => name.toLowerCase() === 'set-cookie');
  assert.deepEqual(
    cookies?.map(([, value]) => value),
    Array.from({ length: 990 }, (_, n) => `c${n}=1`),
  );
});

function connectH2(apache: Apache): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${apache.port}`, {
    maxHeaderListPairs: 4000,
    settings: { maxHeaderListSize: 1_000_000 },
  });
  session.on('error', () => undefined);
  return session;
}

rule(
  'HTTP/2: invalid answers are 502, broken ones are reset, legal ones pass, side by side on one connection',
  { timeoutMs: 180_000 },
  async (scene) => {
    const apache = await serve(scene, true);
    const session = connectH2(apache);
    const authority = 'a.test';
    const good = async (name: string): Promise<void> => {
      const answer = await askH2(session, goodPath(name), { authority });
      assert.equal(answer.body.toString('latin1'), goodPath(name), name);
    };
    for (const name of Object.keys(rawAnswers('REFUSED'))) {
      const [answer] = await Promise.all([askH2(session, `/answer/${name}`, { authority }), good(name)]);
      assert.equal(answer.status, 502, name);
      assert.ok(answer.ended && answer.resetCode === 0, `${name}: a complete page`);
      assert.match(answer.body.toString('latin1'), /PSG400[1-4]/, name);
    }
    for (const name of Object.keys(rawAnswers('BROKEN'))) {
      const [answer] = await Promise.all([askH2(session, `/answer/${name}`, { authority }), good(name)]);
      assert.equal(answer.status, 200, name);
      assert.notEqual(answer.resetCode, 0, `${name}: RST_STREAM with an error`);
      holdsNothingForeign(answer.body.toString('latin1'), name);
    }
    for (const name of Object.keys(rawAnswers('PASSED'))) {
      const { status = 200, body = 'ok', method = 'GET', has = {} } = SPECIAL[name] ?? {};
      const [answer] = await Promise.all([
        askH2(session, `/answer/${name}`, { authority, method }),
        good(name),
      ]);
      assert.equal(answer.status, status, `${name}: reset ${answer.resetCode}`);
      assert.equal(answer.body.toString('latin1'), body, name);
      assert.equal(answer.resetCode, 0, name);
      // Node shows HTTP/2 values as UTF-8, so that bytes beyond ASCII are compared over HTTP/1.1 only.
      for (const [field, value] of Object.entries(has)) {
        if (value === undefined) assert.equal(answer.headers[field], undefined, `${name} ${field}`);
      }
    }
    assert.equal(session.destroyed, false, 'the connection has lived through all of it');
    session.destroy();
  },
);

for (const path of ['/terabyte', '/endless']) {
  rule(`${path.slice(1)}: an answer without end costs no memory`, { timeoutMs: 60_000 }, async (scene) => {
    const apache = await serve(scene);
    const core = corePid(apache);
    const before = rssKb(core);
    const client = await RawClient.open(apache.port);
    let bytes = 0;
    client.socket.removeAllListeners('data');
    client.socket.on('data', (part) => (bytes += part.length));
    client.send(request(path));
    await eventually(30_000, '200 MB have come', () => bytes > 200_000_000);
    assert.ok(rssKb(core) - before < 60_000, `core grew from ${before} to ${rssKb(core)} KB`);
    client.close();
    assert.equal((await ask(apache.port, 'a.test', '/good/after')).text, '/good/after');
  });
}
