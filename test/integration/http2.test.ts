/** HTTP/2 through mod_http2, in clear text and over TLS. */
import assert from 'node:assert/strict';
import * as http2 from 'node:http2';
import { serveTls } from './certificate.js';
import { askH2 } from './client.js';
import { type ProbeRequest, type Scene, rule } from './kit.js';
import { eventually } from '../support/eventually.js';

interface Front {
  readonly session: http2.ClientHttp2Session;
  close(): void;
}

async function open(scene: Scene, tls: boolean): Promise<Front> {
  const front = tls
    ? await serveTls(scene, 'Protocols h2 http/1.1', ['http2'])
    : await scene.serve('probe', '', { server: 'Protocols h2c http/1.1', modules: ['http2'] });
  const port = 'tlsPort' in front ? front.tlsPort : front.apache.port;
  const session = http2.connect(`${tls ? 'https' : 'http'}://127.0.0.1:${port}`, {
    rejectUnauthorized: false,
    servername: 'a.test',
  });
  session.on('error', () => undefined);
  front.apache.allowLog(/PSG40\d\d/);
  return { session, close: () => session.destroy() };
}

for (const tls of [false, true]) {
  const kind = tls ? 'h2' : 'h2c';

  rule(`${kind}: requests and bodies pass, many at once on one connection`, {}, async (scene) => {
    const front = await open(scene, tls);
    const authority = 'a.test';
    const first = await askH2(front.session, '/headers', { authority, headers: { 'x-one': '1' } });
    assert.equal(first.status, 200);
    const headers = (JSON.parse(first.body.toString()) as ProbeRequest).headers;
    assert.equal(headers['host'], 'a.test');
    assert.equal(headers['x-one'], '1');
    assert.equal(headers['x-forwarded-proto'], tls ? 'https' : 'http');
    const body = Buffer.alloc(1_000_000, 'h2');
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => askH2(front.session, '/sha', { authority, body })),
    );
    for (const answer of answers) {
      assert.equal(answer.status, 200);
      assert.equal((JSON.parse(answer.body.toString()) as { length: number }).length, body.length);
    }
    const big = await askH2(front.session, '/chunked?n=5000000', { authority });
    assert.equal(big.body.length, 5_000_000);
    assert.ok(big.ended);
    front.close();
  });

  for (const mode of ['chunked', 'length']) {
    rule(`${kind}: an answer (${mode}) that the app breaks off is reset, not ended`, {}, async (scene) => {
      const front = await open(scene, tls);
      const answer = await askH2(front.session, `/die-mid-body?mode=${mode}&how=close`, {
        authority: 'a.test',
      });
      assert.equal(answer.status, 200);
      assert.notEqual(answer.resetCode, 0, 'RST_STREAM with an error');
      const next = await askH2(front.session, '/', { authority: 'a.test' });
      assert.equal(next.body.toString(), 'hello, probe', 'the other streams of the connection live on');
      front.close();
    });
  }
}

rule('h2c: HEAD, 204 and interim answers pass', {}, async (scene) => {
  const front = await open(scene, false);
  const authority = 'a.test';
  const head = await askH2(front.session, '/size?n=1000', { authority, method: 'HEAD' });
  assert.equal(head.headers['content-length'], '1000');
  assert.equal(head.body.length, 0);
  assert.equal((await askH2(front.session, '/no-body/204', { authority })).status, 204);
  const hinted = await askH2(front.session, '/interim', { authority });
  assert.equal(hinted.body.toString(), 'after 103');
  front.close();
});

rule('h2c: a stream that the client cancels aborts the app’s request within a second', {}, async (scene) => {
  const front = await open(scene, false);
  const authority = 'a.test';
  await askH2(front.session, '/', { authority });
  const stream = front.session.request({ ':path': '/hang', ':authority': authority });
  stream.on('error', () => undefined);
  const state = async (): Promise<string> => {
    const answer = await askH2(front.session, '/aborted', { authority });
    return (JSON.parse(answer.body.toString()) as { state: string }).state;
  };
  await eventually(5000, 'the app has the request', async () => (await state()) === 'hanging');
  stream.close(http2.constants.NGHTTP2_CANCEL);
  await eventually(1500, 'the app was told', async () => (await state()) === 'aborted');
  front.close();
});
