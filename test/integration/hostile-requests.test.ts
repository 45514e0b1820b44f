/**
 * The battery of bad requests (the hostile tables) through the real Apache in both modes of HttpProtocolOptions and all
 * MPMs. What Apache stops must stay stopped; of what reaches the app each byte is looked at: one request line, one
 * framing, each forwarding field once and ours, nothing that a client has smuggled.
 */
import assert from 'node:assert/strict';
import type { Mpm } from '../../core/cli/private-apache.js';
import type { Apache } from '../support/apache.js';
import { ask } from './client.js';
import { type Message, type Talk, converse, messagesOf, seenByApp, serveRaw } from './hostile.js';
import { FIELDS, LINES } from './hostile-field-table.js';
import { BODIES, CONNECTIONS, FRAMING } from './hostile-framing-table.js';
import type { Reached, Row } from './hostile-row.js';
import { rule, site } from './kit.js';

/** What test/apps/raw-answers reports of a request. */
interface Received {
  readonly line: string;
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

function receivedIn(message: Message): Received | undefined {
  if (!message.body.startsWith('{"head":')) return undefined;
  const { head, body } = JSON.parse(Buffer.from(message.body, 'latin1').toString()) as {
    head: string;
    body: string;
  };
  const [line = '', ...lines] = head.split('\r\n');
  const fields = lines.map((text): [string, string] => {
    const colon = text.indexOf(': ');
    return [text.slice(0, colon).toLowerCase(), text.slice(colon + 2)];
  });
  return { line, fields, body };
}

const ONCE = ['host', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'x-forwarded-port'];

/** Holds for whatever reaches an app, however hostile the client. */
function isWellFormed({ line, fields }: Received, what: string): void {
  // eslint-disable-next-line no-control-regex -- that is what must not be there
  assert.match(line, /^[A-Za-z-]+ [^\x00-\x20\x7f]+ HTTP\/1\.1$/, what);
  const names = fields.map(([name]) => name);
  for (const [name, value] of fields) {
    assert.match(name, /^[a-z0-9-]+$/, `${what}: name ${JSON.stringify(name)}`);
    // eslint-disable-next-line no-control-regex -- the same
    assert.ok(!/[\x00-\x08\x0a-\x1f\x7f]/.test(value), `${what}: value ${JSON.stringify(value)}`);
  }
  for (const name of ONCE)
    assert.equal(names.filter((other) => other === name).length, 1, `${what}: ${name}`);
  const framing = names.filter((name) => name === 'content-length' || name === 'transfer-encoding');
  assert.ok(framing.length <= 1, `${what}: one framing`);
  const proto = fields.find(([name]) => name === 'x-forwarded-proto');
  assert.equal(proto?.[1], 'http', what);
}

function isReached(received: Received | undefined, expected: Reached, what: string): void {
  assert.equal(received?.line, expected.line, what);
  if (expected.body !== undefined) assert.equal(received.body, expected.body, what);
  for (const [name, value] of Object.entries(expected.has ?? {}))
    assert.equal(received.fields.find(([other]) => other === name)?.[1], value, `${what}: ${name}`);
}

function agrees(statuses: string, expected: string | RegExp): boolean {
  return typeof expected === 'string' ? statuses === expected : expected.test(statuses);
}

async function runRow(apache: Apache, row: Row, unsafe: boolean): Promise<void> {
  const expected = unsafe ? (row.unsafe ?? row.answers) : row.answers;
  const statusesOf = (talk: Talk): string =>
    messagesOf(talk, row.methods)
      .map(({ status }) => status)
      .join(' ');
  const talk = await converse(apache.port, row.bytes, {
    quietMs: 1200,
    enough: (soFar) => agrees(statusesOf(soFar), expected),
    pieces: row.pieces ?? [],
  });
  const answers = messagesOf(talk, row.methods);
  const what = `${row.name}: ${talk.text.slice(0, 2000)}`;
  const statuses = statusesOf(talk);
  assert.ok(agrees(statuses, expected), `${statuses} instead of ${String(expected)}, ${what}`);
  assert.ok(!statuses.includes('000'), what);
  // A page behind a page would be taken for the answer to the next request.
  assert.ok(answers.filter(({ status }) => status >= 400).length <= 1, what);
  if (Number(answers.at(-1)?.status ?? 0) === 400) assert.equal(talk.end, 'closed', what);
  for (const { interim } of answers) assert.ok(interim.length <= 1, what);
  const reached = unsafe ? (row.reachedUnsafe ?? row.reached ?? []) : (row.reached ?? []);
  assert.deepEqual(
    await seenByApp(apache),
    reached.map(({ line }) => line),
    what,
  );
  for (const [index, answer] of answers.entries()) {
    const received = receivedIn(answer);
    if (received !== undefined) isWellFormed(received, what);
    const one = reached[index];
    if (one !== undefined && row.methods?.[index] !== 'HEAD') isReached(received, one, what);
  }
}

const ROWS = [...FRAMING, ...FIELDS, ...LINES, ...BODIES, ...CONNECTIONS];

const RUNS: readonly (readonly [mode: 'Strict' | 'Unsafe', mpm: Mpm])[] = [
  ['Strict', 'event'],
  ['Unsafe', 'event'],
  ['Strict', 'worker'],
  ['Strict', 'prefork'],
];

for (const [mode, mpm] of RUNS) {
  rule(`the battery of requests, ${mode}, ${mpm}`, { timeoutMs: 180_000 }, async (scene) => {
    const apache = await serveRaw(scene, { mpm, server: `HttpProtocolOptions ${mode}` });
    apache.allowLog(/AH10244: invalid URI path/);
    for (const row of ROWS) await runRow(apache, row, mode === 'Unsafe');
    assert.deepEqual(await seenByApp(apache), []);
  });
}

rule('line ends that another module puts into a field do not reach the app', {}, async (scene) => {
  const expression = (query: string): string => `"expr=%{unescape:${query}}"`;
  const apache = await serveRaw(
    scene,
    { modules: ['headers'] },
    ['X-Query', 'Host', 'X-Forwarded-For']
      .map(
        (name) =>
          `<Location /${name}>\nRequestHeader set ${name} ${expression('%{QUERY_STRING}')}\n</Location>`,
      )
      .join('\n'),
  );
  for (const name of ['X-Query', 'Host', 'X-Forwarded-For']) {
    const query = 'a%0d%0aX-Evil:1%0d%0a%0d%0aGET%20/smuggled%20HTTP/1.1%0d%0a';
    const talk = await converse(
      apache.port,
      `GET /${name}?${query} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n`,
    );
    const [answer] = messagesOf(talk);
    assert.equal(answer?.status, 200, `${name}: ${talk.text}`);
    const received = receivedIn(answer);
    assert.ok(received !== undefined, name);
    isWellFormed(received, name);
    assert.ok(!received.fields.some(([field]) => field === 'x-evil' || field === 'x-query'), name);
    assert.deepEqual(await seenByApp(apache), [`GET /${name}?${query} HTTP/1.1`]);
  }
});

rule('rules of Apache for one place cannot be passed in the name of another', {}, async (scene) => {
  const app = await scene.app('raw-answers');
  const command = `PassengerAppStartCommand "${process.execPath} app.js"`;
  const apache = await scene.start({
    vhosts: [site('a.test', app, `${command}\n<Location /admin>\nRequire all denied\n</Location>`)],
  });
  apache.allowLog(/AH01630|AH01797/);
  assert.equal((await ask(apache.port, 'a.test', '/seen')).status, 200);
  for (const path of [
    '/admin',
    '/admin/',
    '/admin/x',
    '/%61dmin/x',
    '//admin/x',
    '/open/../admin/x',
    '/./admin',
  ]) {
    const talk = await converse(
      apache.port,
      `GET ${path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n`,
    );
    assert.equal(messagesOf(talk)[0]?.status, 403, path);
  }
  for (const path of ['/admin/../open', '/admin/%2e%2e/open', '/admin/x/../../open', '/admin/./../open']) {
    const talk = await converse(
      apache.port,
      `GET ${path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n`,
    );
    assert.equal(messagesOf(talk)[0]?.status, 200, path);
  }
  assert.deepEqual(await seenByApp(apache), Array<string>(4).fill('GET /open HTTP/1.1'));
});
