/** Sticky sessions at the gateway: what it asks the pool for, and when the client gets a cookie. */
import assert from 'node:assert';
import { test } from 'node:test';
import { Fixture } from './gateway-fixture.js';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const ID = 'AAAAAAAAAAAAAAAA';
const ON = { settings: { stickySessions: true, stickySessionsCookieName: 'r' } };

test('without the directive nothing is read and nothing is set', async (t) => {
  const fixture = await Fixture.start(t);
  fixture.source.stickyId = ID;
  await fixture.answering(OK);
  const answer = await fixture.client().request({ path: '/e/1/s/xhr', fields: `Cookie: r=${ID}\r\n` });
  assert.strictEqual(answer.field('set-cookie'), undefined);
  assert.deepStrictEqual(fixture.source.options, [{ generation: 1 }]);
});

test('a client without a cookie gets one, a client with the right one does not', async (t) => {
  const fixture = await Fixture.start(t);
  fixture.source.stickyId = ID;
  await fixture.answering(OK);
  const client = fixture.client();
  const first = await client.request(ON);
  assert.strictEqual(first.field('set-cookie'), `r=${ID}; Path=/; HttpOnly; SameSite=Lax`);
  const second = await client.request({ ...ON, fields: `Cookie: r=${ID}\r\n` });
  assert.strictEqual(second.field('set-cookie'), undefined);
  const stale = await client.request({ ...ON, fields: 'Cookie: r=gone-gone-gone\r\n' });
  assert.strictEqual(stale.field('set-cookie'), `r=${ID}; Path=/; HttpOnly; SameSite=Lax`);
  assert.deepStrictEqual(
    fixture.source.options.map(({ sticky }) => sticky),
    [undefined, { ids: [ID] }, { ids: ['gone-gone-gone'] }],
  );
});

test('the session of a polling transport is told to the pool', async (t) => {
  const fixture = await Fixture.start(t);
  await fixture.answering(OK);
  const answer = await fixture.client().request({ ...ON, path: '/sockjs/123/abcdefgh/xhr?t=1' });
  assert.deepStrictEqual(fixture.source.options[0]?.sticky, { ids: [], session: 'abcdefgh' });
  assert.strictEqual(answer.field('set-cookie'), undefined, 'a process without an id');
});

test('error pages carry no route', async (t) => {
  const fixture = await Fixture.start(t);
  fixture.source.stickyId = ID;
  await fixture.answering('nonsense\r\n\r\n');
  const answer = await fixture.client().request(ON);
  assert.strictEqual(answer.head?.status, 502);
  assert.strictEqual(answer.field('set-cookie'), undefined);
});

test('a process that closes without reading the request is not asked for again', async (t) => {
  const fixture = await Fixture.start(t);
  fixture.source.stickyId = ID;
  await fixture.app((socket, nth) => {
    if (nth === 1) setTimeout(() => socket.destroy(), 20);
    else socket.write(OK);
  }, true);
  const client = fixture.client();
  const answer = await client.request({ ...ON, fields: `Cookie: r=${ID}\r\n` });
  assert.strictEqual(answer.body, 'ok');
  assert.deepStrictEqual(
    fixture.source.options.map(({ sticky }) => sticky),
    [{ ids: [ID] }, undefined],
  );
});
