/** Bodies on their way through filters of other modules: what is broken stays broken, what was changed is told. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:http2';
import { gzipSync } from 'node:zlib';
import { ask, askH2 } from './client.js';
import { converse, messagesOf } from './hostile.js';
import { rule, site } from './kit.js';

const BREAKS_OFF = '/die-mid-body?mode=chunked&how=close';
const CACHE = 'CacheEnable socache /\nCacheIgnoreNoLastMod on';

rule('an answer that breaks off is not made complete by a filter, nor kept by a cache', {}, async (scene) => {
  const app = await scene.app('probe');
  const apache = await scene.start({
    modules: ['sed', 'deflate', 'cache', 'cache_socache', 'socache_shmcb', 'http2'],
    server: 'Protocols h2c http/1.1\nCacheSocache shmcb:$DIR/cache(524288)',
    vhosts: [
      site('sed.test', app, '<Location />\nSetOutputFilter SED\nOutputSed s/first/FIRST/\n</Location>'),
      site('held.test', app, 'PassengerBufferResponse on\nSetOutputFilter DEFLATE'),
      site('cache.test', app, `${CACHE}\nCacheQuickHandler on`),
      site('late.test', app, `${CACHE}\nCacheQuickHandler off`),
    ],
  });
  apache.allowLog(/PSG4003/);
  for (const host of ['cache.test', 'late.test']) {
    const [first, second] = [await ask(apache.port, host, '/pid'), await ask(apache.port, host, '/pid')];
    assert.equal(first.headers.age, undefined);
    assert.notEqual(second.headers.age, undefined, `${host}: the cache works`);
  }
  const session = connect(`http://127.0.0.1:${apache.port}`);
  for (const host of ['sed.test', 'held.test', 'cache.test', 'cache.test', 'late.test', 'late.test']) {
    const answer = await ask(apache.port, host, BREAKS_OFF);
    assert.equal(answer.status, 200, host);
    assert.equal(answer.complete, false, `${host}: ${answer.text}`);
    assert.equal(answer.headers.age, undefined, host);
    const h2 = await askH2(session, BREAKS_OFF, { authority: host });
    assert.notEqual(h2.resetCode, 0, `${host}, HTTP/2`);
  }
  // What a filter holds back to its end has not gone out: then the client can still be told.
  const held = await ask(apache.port, 'held.test', BREAKS_OFF, { headers: { 'Accept-Encoding': 'gzip' } });
  assert.equal(held.status, 502);
  assert.ok(held.complete);
  session.close();
});

rule('an upload that mod_deflate unpacks reaches the app as what it is then', {}, async (scene) => {
  const app = await scene.app('probe');
  const apache = await scene.start({
    modules: ['deflate'],
    vhosts: [
      site('a.test', app, 'SetInputFilter DEFLATE'),
      site('streamed.test', app, 'SetInputFilter DEFLATE\nPassengerBufferUpload off'),
    ],
  });
  const packed = gzipSync(randomBytes(150_000).toString('hex'));
  for (const host of ['a.test', 'streamed.test']) {
    for (const chunked of [false, true]) {
      const init = { body: packed, chunked, headers: { 'Content-Encoding': 'gzip' } };
      const { length } = (await ask(apache.port, host, '/sha', init)).json<{ length: number }>();
      assert.equal(length, 300_000, host);
      const { headers } = (await ask(apache.port, host, '/headers', init)).json<{ headers: object }>();
      assert.ok(!('content-encoding' in headers), `${host}: nobody has to unpack it again`);
    }
    const spoilt = await ask(apache.port, host, '/sha', {
      body: 'this is not packed',
      headers: { 'Content-Encoding': 'gzip' },
    });
    assert.equal(spoilt.status, 400);
  }
  apache.allowLog(/AH01387/);
});

rule('an answer without length and chunks breaks off by a reset', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  apache.allowLog(/PSG4003/);
  const head = (line: string): string => `${line} HTTP/1.1\r\nHost: a.test\r\n`;
  // httpd gives an answer no chunks while it owes a 100.
  const early = await converse(apache.port, `${head(`GET ${BREAKS_OFF}`)}Expect: 100-continue\r\n\r\n`);
  assert.doesNotMatch(early.text, /^(transfer-encoding|content-length):/im);
  assert.equal(early.end, 'reset', early.text);
  // Who sent the whole body is owed none: there are chunks, and the connection is kept.
  const post = `${head('POST /chunked?n=5')}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n12345`;
  const whole = await converse(apache.port, `${post}${head('GET /pid')}Connection: close\r\n\r\n`);
  assert.equal(messagesOf(whole).length, 2, whole.text);
});
