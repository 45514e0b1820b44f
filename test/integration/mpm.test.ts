/** The heart of the suite once more in the other two MPMs; all other files run in event. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { eventually } from '../support/eventually.js';
import { Load, RawClient, ask, rawTalk } from './client.js';
import { type ProbeRequest, rule } from './kit.js';

for (const mpm of ['worker', 'prefork'] as const) {
  rule(`${mpm}: requests, bodies and static files`, {}, async (scene) => {
    const { apache } = await scene.serve('probe', '', { mpm });
    assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
    assert.equal((await ask(apache.port, 'a.test', '/any/x?y=1')).json<ProbeRequest>().url, '/any/x?y=1');
    const body = Buffer.alloc(2_000_000, 'body');
    for (const chunked of [false, true]) {
      const answer = await ask(apache.port, 'a.test', '/sha', { body, chunked });
      assert.equal(answer.json<{ length: number }>().length, body.length);
    }
    assert.equal((await ask(apache.port, 'a.test', '/chunked?n=3000000')).body.length, 3_000_000);
    assert.equal((await ask(apache.port, 'a.test', '/file.txt')).text, 'a file of public\n');
    const many = await Promise.all(
      Array.from({ length: 24 }, () => ask(apache.port, 'a.test', '/slow?ms=50')),
    );
    for (const answer of many) assert.equal(answer.status, 200);
  });

  rule(`${mpm}: both directions stream at once`, {}, async (scene) => {
    const { apache } = await scene.serve('probe', 'PassengerBufferUpload off', { mpm });
    const client = await RawClient.open(apache.port);
    client.send(
      'POST /duplex HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n',
    );
    client.send('5\r\nfirst\r\n');
    await eventually(5000, 'an answer to the first piece', () => client.text.includes('got 5'));
    client.send('0\r\n\r\n');
    await eventually(5000, 'the end', () => client.ended && client.text.includes('bye'));
    client.close();
  });

  rule(`${mpm}: broken answers break off, a client that leaves is noticed`, {}, async (scene) => {
    const { apache } = await scene.serve('probe', '', { mpm });
    await ask(apache.port, 'a.test', '/');
    apache.allowLog(/PSG[45]\d{3}/);
    const talk = await rawTalk(
      apache.port,
      'GET /die-mid-body?mode=chunked&how=close HTTP/1.1\r\nHost: a.test\r\n\r\n',
    );
    assert.ok(talk.includes('only the first part') && !talk.includes('\r\n0\r\n'));
    const client = await RawClient.open(apache.port);
    client.send('GET /hang HTTP/1.1\r\nHost: a.test\r\n\r\n');
    const state = async (): Promise<string> =>
      (await ask(apache.port, 'a.test', '/aborted')).json<{ state: string }>().state;
    await eventually(3000, 'the app has the request', async () => (await state()) === 'hanging');
    client.close();
    await eventually(1200, 'the app was told', async () => (await state()) === 'aborted');
  });

  rule(`${mpm}: a graceful reload under load fails no request`, { timeoutMs: 120_000 }, async (scene) => {
    const { apache, app } = await scene.serve('probe', '', { mpm });
    await ask(apache.port, 'a.test', '/');
    const load = new Load(apache.port, 'a.test', '/slow?ms=10', 4);
    writeFileSync(`${app}/version.txt`, '2');
    await apache.graceful();
    await eventually(
      20_000,
      'version 2',
      async () => (await ask(apache.port, 'a.test', '/version')).text === '2',
    );
    assert.deepEqual((await load.stop()).failures, []);
  });
}
