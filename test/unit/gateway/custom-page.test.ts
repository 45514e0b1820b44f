/** PassengerCustomErrorPage in the gateway: who sees it, and what happens while it is fetched. */
import assert from 'node:assert';
import { test, type TestContext } from 'node:test';
import { PassengerError } from '../../../core/base/errors.js';
import { eventually } from '../../support/eventually.js';
import { Fixture } from './gateway-fixture.js';
import type { Answer, RequestOptions, ShimClient } from './shim-client.js';

const SETTINGS = { customErrorPage: 'sorry.html' };
const PAGE = Buffer.from('<h1>Zurück in Kürze</h1>');

interface Scene {
  readonly fixture: Fixture;
  readonly client: ShimClient;
  /** Sends a request whose start of an app fails. */
  readonly fail: (options?: RequestOptions) => Promise<Answer>;
}

async function scene(t: TestContext): Promise<Scene> {
  const fixture = await Fixture.start(t);
  fixture.source.hold = true;
  const client = fixture.client();
  const fail = async (options: RequestOptions = {}): Promise<Answer> => {
    const answer = client.send({ settings: SETTINGS, ...options });
    const count = fixture.source.waiters.length;
    await eventually(1000, 'the request waits', () => fixture.source.waiters.length > count);
    fixture.source.waiters.at(-1)?.onFailure(new PassengerError('PSG6004', {}));
    return answer;
  };
  return { fixture, client, fail };
}

test('visitors see the page of the app with our status, clients of an interface get JSON', async (t) => {
  const { fixture, client, fail } = await scene(t);
  fixture.page = () => Promise.resolve(PAGE);
  const html = await client.finished(await fail());
  assert.deepStrictEqual([html.head?.status, html.body], [500, PAGE.toString('latin1')]);
  assert.strictEqual(html.field('content-type'), 'text/html; charset=UTF-8');
  assert.strictEqual(html.field('content-length'), String(PAGE.length));
  assert.strictEqual(html.field('cache-control'), 'no-store');
  const json = await client.finished(await fail({ fields: 'Accept: application/json\r\n' }));
  assert.match(json.body, /"code":"PSG6004"/);
  const head = await client.finished(await fail({ method: 'HEAD' }));
  assert.deepStrictEqual([head.head?.status, head.body, head.end], [500, '', 'end']);
  const friendly = { ...SETTINGS, friendlyErrorPages: true };
  assert.match((await client.finished(await fail({ settings: friendly }))).body, /PSG6004/);
});

test('without a page that can be shown visitors see ours', async (t) => {
  const { client, fail } = await scene(t);
  assert.match((await client.finished(await fail())).body, /PSG6004/);
});

test('a page of several frames is whole, and the connection serves on', async (t) => {
  const { fixture, client, fail } = await scene(t);
  fixture.page = () => Promise.resolve(Buffer.alloc(200_000, 'x'));
  assert.strictEqual((await client.finished(await fail())).body.length, 200_000);
  assert.strictEqual((await client.finished(await fail())).body.length, 200_000);
});

test('a client that leaves, and an upload that goes on, do no harm while the page is fetched', async (t) => {
  const { fixture, client, fail } = await scene(t);
  let show: (page: Buffer | undefined) => void = () => undefined;
  fixture.page = () => new Promise((resolve) => (show = resolve));
  const left = await fail();
  client.cancel();
  await client.finished(left);
  assert.strictEqual(left.abort?.code, 'PSG4011');
  show(PAGE);
  const upload = await fail({
    method: 'POST',
    bodyFollows: true,
    settings: { ...SETTINGS, bufferUpload: false },
  });
  client.body('more');
  client.bodyEnd();
  // The connection has taken the end of the upload when the sweep comes round.
  await new Promise((resolve) => setTimeout(resolve, 300));
  show(PAGE);
  assert.strictEqual((await client.finished(upload)).body, PAGE.toString('latin1'));
  assert.strictEqual(fixture.source.open, 0);
});
