/** Real applications from the npm registry run unchanged. */
import assert from 'node:assert/strict';
import { ask } from './client.js';
import { needsPackage, rule } from './kit.js';

for (const [name, needs, directory] of [
  ['express', 'express', 'express-app'],
  ['fastify, an ES module with top-level await,', 'fastify', 'fastify-app'],
  ['koa', 'koa', 'koa-app'],
  ['hono', '@hono/node-server', 'hono-app'],
] as const) {
  rule(`${name} runs unchanged`, { skip: needsPackage(needs) }, async (scene) => {
    const { apache } = await scene.serve(directory);
    const answer = await ask(apache.port, 'a.test', '/');
    assert.equal(answer.status, 200, answer.text);
    assert.match(answer.text, /^hello from /);
    const many = await Promise.all(Array.from({ length: 20 }, () => ask(apache.port, 'a.test', '/')));
    for (const one of many) assert.equal(one.text, answer.text);
  });
}

rule(
  'express reads a JSON body, and the client’s address behind one proxy',
  { skip: needsPackage('express') },
  async (scene) => {
    const { apache } = await scene.serve('express-app');
    const echo = await ask(apache.port, 'a.test', '/echo', {
      body: '{"a":[1,2,{"b":null}]}',
      headers: { 'Content-Type': 'application/json' },
    });
    assert.deepEqual(echo.json<unknown>(), { a: [1, 2, { b: null }] });
    assert.equal((await ask(apache.port, 'a.test', '/ip')).text, '127.0.0.1');
  },
);

rule('socket.io works over polling', { skip: needsPackage('socket.io') }, async (scene) => {
  const { apache } = await scene.serve('socket-io-app');
  const hello = await ask(apache.port, 'a.test', '/socket.io/?EIO=4&transport=polling');
  assert.equal(hello.status, 200, hello.text);
  // Engine.IO 4: packet type 0 (open) and a JSON object.
  const { sid } = JSON.parse(hello.text.slice(1)) as { sid: string };
  assert.equal(hello.text[0], '0');
  const url = `/socket.io/?EIO=4&transport=polling&sid=${sid}`;
  const joined = await ask(apache.port, 'a.test', url, { body: '40' });
  assert.equal(joined.text, 'ok');
  const poll = await ask(apache.port, 'a.test', url);
  assert.match(poll.text, /^40\{/);
});
