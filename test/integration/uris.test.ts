/** What the app sees in `req.url`. */
import assert from 'node:assert/strict';
import { ask } from './client.js';
import { type ProbeRequest, rule } from './kit.js';

async function seenUrl(port: number, path: string): Promise<string> {
  const answer = await ask(port, 'a.test', path);
  assert.equal(answer.status, 200, `${path}: ${answer.text}`);
  return answer.json<ProbeRequest>().url;
}

/** Equal as URIs: percent-encoding in upper or lower hex is the same thing (RFC 3986 §6.2.2.1). */
function sameUri(actual: string, expected: string): void {
  const fold = (uri: string): string => uri.replace(/%[0-9a-f]{2}/gi, (code) => code.toUpperCase());
  assert.equal(fold(actual), fold(expected));
}

rule('path and query reach the app, the query byte for byte', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  assert.equal(await seenUrl(apache.port, '/any/x?q=%20a&b=%2F%3b;+c'), '/any/x?q=%20a&b=%2F%3b;+c');
  assert.equal(await seenUrl(apache.port, '/any/x?'), '/any/x?');
  sameUri(await seenUrl(apache.port, '/any/caf%C3%A9%20au%20lait'), '/any/caf%C3%A9%20au%20lait');
  sameUri(await seenUrl(apache.port, '/any/100%25%3F%23'), '/any/100%25%3F%23');
});

// Passenger 6.0.17 decodes and escapes again, so that its app reads `;` (reference §6.3); ours keeps the
// client's bytes wherever nothing rewrote the URI (reliability §2.1, R14).
rule('%3B stays %3B when nothing rewrote the URI', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  assert.equal(await seenUrl(apache.port, '/any/a;b%3Bc'), '/any/a;b%3Bc');
});

rule('an encoded slash is refused by Apache unless AllowEncodedSlashes says otherwise', {}, async (scene) => {
  const app = await scene.app('probe');
  const apache = await scene.start({
    vhosts: [
      {
        name: 'a.test',
        documentRoot: `${app}/public`,
        config: 'AllowEncodedSlashes NoDecode\nPassengerAllowEncodedSlashes on',
      },
      { name: 'b.test', documentRoot: `${app}/public` },
    ],
  });
  assert.equal(await seenUrl(apache.port, '/any/x%2Fy?z=%2F'), '/any/x%2Fy?z=%2F');
  // Passenger 6.0.17: Apache's own 404.
  assert.equal((await ask(apache.port, 'b.test', '/any/x%2Fy')).status, 404);
  apache.allowLog(/AH00026/);
});

rule('AllowEncodedSlashes NoDecode: an encoded slash arrives as it was sent', {}, async (scene) => {
  const { apache } = await scene.serve(
    'probe',
    'AllowEncodedSlashes NoDecode\nRewriteEngine on\nRewriteRule ^/old/(.*)$ /any/new/$1 [PT]',
    { modules: ['rewrite'] },
  );
  assert.equal(await seenUrl(apache.port, '/any/@scope%2fname%20x'), '/any/@scope%2fname%20x');
  assert.equal(await seenUrl(apache.port, '/any/100%2525%2F'), '/any/100%2525%2F');
  assert.equal(await seenUrl(apache.port, '/old/@scope%2Fname%20x'), '/any/new/@scope%2Fname%20x');
});

rule('a rewritten URI is what the app sees', {}, async (scene) => {
  const { apache } = await scene.serve(
    'probe',
    'RewriteEngine on\nRewriteRule ^/old/(.*)$ /any/new/$1 [PT]\nRewriteRule ^/q/(.*)$ /any/q?name=$1 [PT,QSA]',
    { modules: ['rewrite'] },
  );
  assert.equal(await seenUrl(apache.port, '/old/page?x=1'), '/any/new/page?x=1');
  assert.equal(await seenUrl(apache.port, '/q/me?x=1'), '/any/q?name=me&x=1');
  assert.equal(await seenUrl(apache.port, '/any/same'), '/any/same');
});

rule('Host, address and protocol version are the client’s', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const seen = (await ask(apache.port, 'a.test', '/url')).json<ProbeRequest & { httpVersion: string }>();
  assert.equal(seen.httpVersion, '1.1');
  assert.equal(seen.raw[seen.raw.findIndex((name) => /^host$/i.test(name)) + 1], 'a.test');
});
