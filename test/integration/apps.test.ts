/** Real applications from the npm registry run unchanged. */
import assert from 'node:assert/strict';
import { ask } from './client.js';
import { needsPackage, rule } from './kit.js';

for (const name of ['express', 'fastify', 'koa', 'hono'] as const) {
  rule(
    `${name} answers`,
    { skip: needsPackage(name === 'hono' ? '@hono/node-server' : name) },
    async (scene) => {
      const { apache } = await scene.serve(name);
      const answer = await ask(apache.port, 'a.test', '/');
      assert.equal(answer.status, 200, answer.text);
      assert.notEqual(answer.body.length, 0);
      assert.ok(answer.complete);
      const many = await Promise.all(Array.from({ length: 20 }, () => ask(apache.port, 'a.test', '/')));
      for (const one of many) assert.equal(one.text, answer.text);
      const missing = await ask(apache.port, 'a.test', '/there/is/no/such/page');
      assert.equal(missing.status, 404);
    },
  );
}

rule('socket.io works over polling', { skip: needsPackage('socket.io') }, async (scene) => {
  const { apache } = await scene.serve('socketio');
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
