/** Requests and answers of every shape pass through unchanged, in both directions at once, with flat memory. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import * as http from 'node:http';
import { Readable } from 'node:stream';
import { eventually } from '../support/eventually.js';
import { RawClient, ask, rawTalk } from './client.js';
import { type ProbeRequest, appPids, corePid, rssKb, rule } from './kit.js';

const MB = 1024 * 1024;
const SIZES = [0, 1, 65_535, 65_536, MB];

interface Digest {
  length: number;
  sha256: string;
  method: string;
  contentLength: string | null;
  transferEncoding: string | null;
}

function pattern(size: number): Buffer {
  const data = Buffer.alloc(size);
  for (let at = 0; at < size; at += 1) data[at] = (at * 31 + (at >> 8)) & 0xff;
  return data;
}

function sha(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

rule('every method reaches the app, unknown ones too', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND', 'REPORT']) {
    const answer = await ask(apache.port, 'a.test', '/headers', { method });
    assert.equal(answer.status, 200, method);
    assert.equal(answer.json<ProbeRequest>().method, method);
  }
});

rule('bodies with Content-Length arrive byte for byte, from 0 bytes to 64 MB', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  for (const size of [...SIZES, 64 * MB]) {
    const body = pattern(size);
    const answer = await ask(apache.port, 'a.test', '/sha', { method: 'POST', body });
    assert.equal(answer.status, 200, `${size} bytes: ${answer.text}`);
    const digest = answer.json<Digest>();
    assert.equal(digest.length, size);
    assert.equal(digest.sha256, sha(body));
  }
});

rule('chunked bodies arrive byte for byte, and buffered ones get a Content-Length', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  for (const size of [...SIZES, 16 * MB]) {
    const body = pattern(size);
    const answer = await ask(apache.port, 'a.test', '/sha', { method: 'PUT', body, chunked: true });
    const digest = answer.json<Digest>();
    assert.equal(digest.length, size);
    assert.equal(digest.sha256, sha(body));
    // Passenger's core counts a buffered chunked body too (reference §6.6).
    assert.equal(digest.contentLength, String(size));
    assert.equal(digest.transferEncoding, null);
  }
});

rule('GET and DELETE with a body hand the body to the app', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  for (const method of ['GET', 'DELETE']) {
    const answer = await ask(apache.port, 'a.test', '/sha', { method, body: 'not forbidden' });
    assert.equal(answer.json<Digest>().length, 13);
  }
});

rule('answers of every size come complete, with Content-Length and chunked', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  for (const size of [...SIZES, 64 * MB]) {
    const sized = await ask(apache.port, 'a.test', `/size?n=${size}`);
    assert.equal(sized.headers['content-length'], String(size));
    assert.ok(sized.complete);
    assert.equal(sized.body.length, size);
    const chunked = await ask(apache.port, 'a.test', `/chunked?n=${size}`);
    assert.ok(chunked.complete);
    assert.equal(chunked.body.length, size);
    if (size > 0) assert.equal(sha(chunked.body), sha(sized.body));
  }
});

rule('HEAD carries the length of the body and no body, 204 and 304 none at all', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const talk = await rawTalk(
    apache.port,
    'HEAD /size?n=1000 HTTP/1.1\r\nHost: a.test\r\n\r\n' +
      'GET /no-body/204 HTTP/1.1\r\nHost: a.test\r\n\r\n' +
      'GET /no-body/304 HTTP/1.1\r\nHost: a.test\r\n\r\n' +
      'GET /pid HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n',
  );
  const [, head = '', none = '', same = '', last = ''] = talk.split('HTTP/1.1 ');
  assert.match(head, /^200 /);
  assert.match(head, /\r\nContent-Length: 1000\r\n/i);
  assert.match(head, /\r\n\r\n$/, 'nothing behind the head of HEAD');
  assert.match(none, /^204 [^]*X-Probe: no content[^]*\r\n\r\n$/);
  assert.doesNotMatch(none, /Transfer-Encoding/i);
  assert.match(same, /^304 [^]*ETag: "probe"[^]*\r\n\r\n$/);
  assert.match(last, /^200 /, 'the connection stayed in step');
});

rule('an interim 103 of the app reaches the client before the final answer', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const talk = await rawTalk(
    apache.port,
    'GET /interim HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n',
  );
  assert.match(talk, /^HTTP\/1\.1 103 [^]*rel=preload[^]*\r\n\r\nHTTP\/1\.1 200 /i);
  assert.match(talk, /after 103$/);
  // HTTP/1.0 knows no interim answers (RFC 9110 §15.2).
  const old = await rawTalk(apache.port, 'GET /interim HTTP/1.0\r\nHost: a.test\r\n\r\n');
  assert.match(old, /^HTTP\/1\.1 200 /);
});

rule('Expect: 100-continue is answered once', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const client = await RawClient.open(apache.port);
  client.send(
    'POST /sha HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n',
  );
  await eventually(5000, 'the 100', () => client.text.startsWith('HTTP/1.1 100 '));
  client.send('abc');
  await eventually(5000, 'the answer', () => client.ended);
  client.close();
  assert.equal(client.text.match(/HTTP\/1\.1 100/g)?.length, 1);
  assert.match(client.text, /HTTP\/1\.1 200 [^]*"length": 3/);
});

rule(
  'keep-alive: many requests run over one client connection and few app connections',
  {},
  async (scene) => {
    const { apache } = await scene.serve('probe');
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<number | undefined>();
    agent.on('free', (socket: { localPort?: number }) => ports.add(socket.localPort));
    for (let turn = 0; turn < 50; turn += 1) {
      const answer = await ask(apache.port, 'a.test', '/', { agent });
      assert.equal(answer.text, 'hello, probe');
    }
    agent.destroy();
    assert.equal(ports.size, 1);
  },
);

rule('pipelined requests are answered in order', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  let text = '';
  for (let turn = 0; turn < 30; turn += 1)
    text += `GET /any/${turn} HTTP/1.1\r\nHost: a.test\r\n${turn === 29 ? 'Connection: close\r\n' : ''}\r\n`;
  const talk = await rawTalk(apache.port, text);
  const urls = [...talk.matchAll(/"url": "\/any\/(\d+)"/g)].map((match) => Number(match[1]));
  assert.deepEqual(
    urls,
    Array.from({ length: 30 }, (_, index) => index),
  );
});

rule('with BufferUpload off the answer streams while the body is still being sent', {}, async (scene) => {
  const { apache } = await scene.serve('probe', 'PassengerBufferUpload off');
  const client = await RawClient.open(apache.port);
  client.send(
    'POST /duplex HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n',
  );
  client.send('5\r\nfirst\r\n');
  await eventually(5000, 'an answer to the first piece', () => client.text.includes('got 5'));
  client.send('6\r\nsecond\r\n');
  await eventually(5000, 'an answer to the second piece', () => client.text.includes('got 6'));
  assert.ok(!client.text.includes('bye'));
  client.send('0\r\n\r\n');
  await eventually(5000, 'the end', () => client.ended && client.text.includes('bye'));
  client.close();
});

rule('an answer streams as the app writes it', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const arrivals: number[] = [];
  const answer = await ask(apache.port, 'a.test', '/drip?n=4&ms=200', {
    onData: (_part, atMs) => arrivals.push(atMs),
  });
  assert.ok(answer.complete);
  assert.equal(answer.text, 'drop 0\ndrop 1\ndrop 2\ndrop 3\n');
  const [first = 0] = arrivals;
  const last = arrivals.at(-1) ?? 0;
  assert.ok(last - first > 350, `pieces came apart: ${arrivals.join(' ')}`);
});

rule(
  'a client that does not read a long answer costs bounded memory',
  { timeoutMs: 90_000 },
  async (scene) => {
    const { apache } = await scene.serve('probe');
    await ask(apache.port, 'a.test', '/');
    const core = corePid(apache);
    const [app = 0] = appPids(apache);
    const before = { core: rssKb(core), app: rssKb(app) };
    const client = await RawClient.open(apache.port);
    client.socket.pause();
    client.send('GET /chunked?n=300000000 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n');
    let settled = rssKb(core);
    await eventually(10_000, 'the memory of the core settles', async () => {
      const last = settled;
      await new Promise((turn) => setTimeout(turn, 500));
      settled = rssKb(core);
      return Math.abs(settled - last) < 1024;
    });
    assert.ok(settled - before.core < 60_000, `core grew from ${before.core} to ${settled} KB`);
    assert.ok(rssKb(app) - before.app < 100_000, `app grew from ${before.app} to ${rssKb(app)} KB`);
    client.close();
  },
);

rule('an app that does not read a long upload costs bounded memory', { timeoutMs: 90_000 }, async (scene) => {
  const { apache } = await scene.serve('probe', 'PassengerBufferUpload off');
  await ask(apache.port, 'a.test', '/');
  const core = corePid(apache);
  const before = rssKb(core);
  let sent = 0;
  const block = Buffer.alloc(65_536);
  const source = new Readable({
    read() {
      sent += block.length;
      this.push(sent < 300_000_000 ? block : null);
    },
  });
  const stop = new AbortController();
  const answer = ask(apache.port, 'a.test', '/never-read', {
    method: 'POST',
    body: source,
    signal: stop.signal,
  });
  let last = -1;
  await eventually(15_000, 'the upload stalls', async () => {
    const stalled = sent === last;
    last = sent;
    await new Promise((turn) => setTimeout(turn, 400));
    return stalled;
  });
  assert.ok(sent < 100_000_000, `${sent} bytes were taken from the client`);
  assert.ok(rssKb(core) - before < 60_000, `core grew from ${before} to ${rssKb(core)} KB`);
  stop.abort();
  await answer;
});

rule('header fields of the answer keep names, order and repetition', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const answer = await ask(apache.port, 'a.test', '/set-cookies');
  assert.deepEqual(answer.headers['set-cookie'], ['a=1; Path=/', 'b=2; HttpOnly']);
  const ours = answer.rawHeaders.filter((_, index) => index % 2 === 0);
  assert.ok(ours.indexOf('X-One') < ours.indexOf('X-Two'));
});

rule('fields for the next hop only do not pass, in either direction', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const answer = await ask(apache.port, 'a.test', '/hop-by-hop');
  assert.equal(answer.headers['x-secret'], undefined);
  assert.equal(answer.headers['x-public'], 'yes');
  assert.notEqual(answer.headers['keep-alive'], 'timeout=99');
  const seen = (
    await ask(apache.port, 'a.test', '/headers', {
      headers: {
        Connection: 'close, X-Mine, X-Forwarded-For',
        'X-Mine': 'drop me',
        TE: 'trailers',
        Proxy: 'http://evil.test/',
        'Proxy-Authorization': 'Basic xyz',
        'X-Yours': 'keep me',
      },
    })
  ).json<ProbeRequest>().headers;
  for (const name of ['x-mine', 'te', 'proxy', 'proxy-authorization'])
    assert.equal(seen[name], undefined, name);
  assert.equal(seen['x-yours'], 'keep me');
  assert.equal(seen['x-forwarded-for'], '127.0.0.1', 'ours is not removed by naming it in Connection');
});

rule('forwarding fields are ours: what a client claims about itself does not count', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const seen = (
    await ask(apache.port, 'a.test', '/headers', {
      headers: {
        Host: `a.test:${apache.port}`,
        'X-Forwarded-Proto': 'https',
        'X-Forwarded-Host': 'evil.test',
        'X-Forwarded-Port': '1',
        X_Forwarded_Proto: 'https',
        'X-Forwarded-For': '9.9.9.9',
      },
    })
  ).json<ProbeRequest>();
  assert.equal(seen.headers['x-forwarded-proto'], 'http');
  assert.equal(seen.headers['x-forwarded-host'], `a.test:${apache.port}`);
  assert.equal(seen.headers['x-forwarded-port'], String(apache.port));
  assert.equal(seen.headers['x_forwarded_proto'], undefined);
  // The chain is appended to (DESIGN §11), its last member is the peer that we saw ourselves.
  assert.equal(seen.headers['x-forwarded-for'], '9.9.9.9, 127.0.0.1');
  assert.equal(seen.raw.filter((name) => /^x-forwarded-for$/i.test(name)).length, 1, 'one field, not two');
});

rule('the answer carries Status and X-Powered-By as Passenger sends them', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  // Passenger 6.0.17 answers `Status: 200 OK` and `X-Powered-By: Phusion Passenger(R) 6.0.17`.
  const answer = await ask(apache.port, 'a.test', '/');
  assert.equal(answer.headers['status'], '200 OK');
  assert.match(String(answer.headers['x-powered-by']), /Passenger/);
  const teapot = await ask(apache.port, 'a.test', '/status-code?code=418');
  assert.equal(teapot.status, 418);
  assert.match(String(teapot.headers['status']), /^418 /);
});
