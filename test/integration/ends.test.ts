/** How exchanges end: an answer that is not complete never looks complete, and every wait has an end. */
import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.js';
import { RawClient, ask, rawTalk } from './client.js';
import { type Scene, corePid, fdCount, logLine, rule, site } from './kit.js';
import type { Apache } from '../support/apache.js';
import { assertWithin, patience } from '../support/patience.js';
import { openSessions } from './pool-view.js';

interface Aborted {
  state: string;
  afterMs?: number;
  open: number;
}

/** Answers of the app that break off are logged with a number; these tests provoke them. */
async function serve(scene: Scene, config = '', server = ''): Promise<Apache> {
  const { apache } = await scene.serve('probe', config, { server });
  await ask(apache.port, 'a.test', '/');
  apache.allowLog(/PSG[45]\d{3}/);
  return apache;
}

// Passenger 6.0.17 answers 502 with "Incomplete response received from application".
rule('an app that dies or closes before the head: 502 with a number', {}, async (scene) => {
  const apache = await serve(scene);
  for (const path of ['/close-before-head', '/die-before-head']) {
    const answer = await ask(apache.port, 'a.test', path, { method: 'POST', body: 'not replayable' });
    assert.equal(answer.status, 502, `${path}: ${answer.failure}`);
    assert.match(answer.text, /PSG4\d{3}/);
    assert.match(String(answer.headers['cache-control']), /no-/);
    assert.ok(answer.complete);
  }
  assert.equal((await ask(apache.port, 'a.test', '/')).status, 200);
});

rule('an answer that is no HTTP: 502', {}, async (scene) => {
  const apache = await serve(scene);
  assert.equal((await ask(apache.port, 'a.test', '/garbage-head')).status, 502);
});

const RAW_ANSWERS: Record<string, string> = {
  'Content-Length and Transfer-Encoding together':
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'two different Content-Lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456',
  'a negative Content-Length': 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
  'an unknown Transfer-Encoding': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n',
  'a NUL in a value': 'HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n',
  'line ends without CR': 'HTTP/1.1 200 OK\nContent-Length: 0\n\n',
  'a folded line': 'HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 0\r\n\r\n',
  'status 99': 'HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n',
  'half a head': 'HTTP/1.1 200 OK\r\nContent-Le',
  'a 101 that nobody asked for':
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
  'a space before the colon': 'HTTP/1.1 200 OK\r\nX-A : a\r\nContent-Length: 0\r\n\r\n',
};

rule('malformed heads of the app become 502, each of them', {}, async (scene) => {
  const apache = await serve(scene);
  for (const [what, raw] of Object.entries(RAW_ANSWERS)) {
    const hex = Buffer.from(raw, 'latin1').toString('hex');
    const answer = await ask(apache.port, 'a.test', `/raw?hex=${hex}`);
    assert.equal(answer.status, 502, `${what}: ${answer.text} ${answer.failure}`);
  }
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
});

const BROKEN_BODIES: Record<string, string> = {
  'a chunk size that is no number':
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n',
  'a negative chunk size': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n',
  'a chunk size beyond all bounds':
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nabc\r\n0\r\n\r\n',
  'chunks that stop': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
  'a body shorter than its length': 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort',
};

rule('malformed or cut bodies never look complete', {}, async (scene) => {
  const apache = await serve(scene);
  for (const [what, raw] of Object.entries(BROKEN_BODIES)) {
    const hex = Buffer.from(raw, 'latin1').toString('hex');
    const answer = await ask(apache.port, 'a.test', `/raw?hex=${hex}`);
    assert.ok(answer.status === 502 || !answer.complete, `${what}: ${answer.status} ${answer.text}`);
  }
});

// Passenger 6.0.17 ends the chunked body properly (looks complete) and keeps the connection for the next request.
for (const how of ['close', 'exit'] as const) {
  rule(
    `app ${how === 'exit' ? 'killed' : 'closing'} in the body: chunked and counted transfers break off`,
    {},
    async (scene) => {
      const apache = await serve(scene);
      for (const mode of ['chunked', 'length']) {
        const path = `/die-mid-body?mode=${mode}&how=${how}`;
        const answer = await ask(apache.port, 'a.test', path);
        assert.equal(answer.status, 200);
        assert.equal(answer.text, 'only the first part');
        assert.equal(answer.complete, false, mode);
        // Behind it, a second request on the same connection must never be answered as part of the first.
        const talk = await rawTalk(
          apache.port,
          `GET ${path} HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n`,
        );
        assert.equal(talk.match(/HTTP\/1\.1 \d/g)?.length, 1, talk);
        assert.ok(!talk.includes('\r\n0\r\n'), 'no last chunk');
      }
    },
  );
}

rule(
  'an HTTP/1.0 client sees a broken answer as a reset or a short body, not as a kept connection',
  {},
  async (scene) => {
    const apache = await serve(scene);
    const talk = await rawTalk(
      apache.port,
      'GET /die-mid-body?mode=length&how=close HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n',
    );
    assert.match(talk, /Content-Length: 1000/i);
    assert.ok(talk.length < 1000 + talk.indexOf('\r\n\r\n'));
  },
);

for (const [what, leave] of [
  ['closes', (client: RawClient): void => client.close()],
  ['half-closes', (client: RawClient): void => void client.socket.end()],
] as const) {
  rule(
    `a client that ${what} while the app thinks: the app’s request is aborted within a second`,
    {},
    async (scene) => {
      const apache = await serve(scene);
      const client = await RawClient.open(apache.port);
      client.send('GET /hang HTTP/1.1\r\nHost: a.test\r\n\r\n');
      const state = async (): Promise<Aborted> =>
        (await ask(apache.port, 'a.test', '/aborted')).json<Aborted>();
      await eventually(3000, 'the app has the request', async () => (await state()).state === 'hanging');
      leave(client);
      await eventually(1200, 'the app was told', async () => (await state()).state === 'aborted');
      client.close();
    },
  );
}

rule(
  'a client that leaves in the middle of an upload: the app never sees a complete body',
  {},
  async (scene) => {
    const apache = await serve(scene, 'PassengerBufferUpload off');
    const client = await RawClient.open(apache.port);
    client.send('POST /upload-watch HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n');
    client.send(Buffer.alloc(50_000));
    const state = async (): Promise<string> =>
      (await ask(apache.port, 'a.test', '/upload-state')).json<{ state: string }>().state;
    await eventually(3000, 'the app receives', async () => (await state()) === 'receiving');
    client.close();
    await eventually(2000, 'the app was told', async () => (await state()) === 'aborted');
  },
);

rule('a client that resets while its upload is stalled is noticed within a second', {}, async (scene) => {
  const apache = await serve(scene, 'PassengerBufferUpload off');
  const before = fdCount(corePid(apache));
  const client = await RawClient.open(apache.port);
  client.send('POST /never-read HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n');
  const block = Buffer.alloc(1_000_000);
  while (client.socket.write(block));
  const state = async (): Promise<string> =>
    (await ask(apache.port, 'a.test', '/upload-state')).json<{ state: string }>().state;
  await eventually(3000, 'the app has the request', async () => (await state()) === 'receiving');
  let buffered = -1;
  await eventually(10_000, 'the upload is stalled', async () => {
    const before = buffered;
    buffered = client.socket.writableLength;
    await new Promise((turn) => setTimeout(turn, 200));
    return buffered === before;
  });
  // Not a FIN: that would queue behind the bytes for which the server has no window. And the app reads nothing, so that it
  // cannot tell; that the core has let go of the app shows in its descriptors.
  client.socket.resetAndDestroy();
  await eventually(1500, 'the core has closed the connection', () => fdCount(corePid(apache)) <= before + 1);
});

rule('a client that leaves in the middle of a download: the app’s answer is aborted', {}, async (scene) => {
  const apache = await serve(scene);
  const client = await RawClient.open(apache.port);
  client.send('GET /sse?n=100000&ms=10 HTTP/1.1\r\nHost: a.test\r\n\r\n');
  await eventually(5000, 'events', () => client.text.includes('event 3'));
  client.close();
  const fds = async (): Promise<number> => {
    const { fds: all } = (await ask(apache.port, 'a.test', '/status')).json<{
      fds: Record<string, string>;
    }>();
    return Object.values(all).filter((target) => target.startsWith('socket:')).length;
  };
  // listening, control, and the connection that asks
  await eventually(
    3000,
    'the app holds no connection of the client any more',
    async () => (await fds()) <= 4,
  );
});

rule('an early answer stops the upload', {}, async (scene) => {
  const apache = await serve(scene, 'PassengerBufferUpload off');
  const client = await RawClient.open(apache.port);
  client.send('POST /early HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000000\r\n\r\n');
  client.send(Buffer.alloc(200_000));
  await eventually(5000, 'the answer', () => /^HTTP\/1\.1 413 [^]*too early/.test(client.text));
  client.close();
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
});

rule('an app that stays silent for longer than Timeout: 504', {}, async (scene) => {
  const apache = await serve(scene, '', 'Timeout 2');
  const begun = performance.now();
  const answer = await ask(apache.port, 'a.test', '/hang');
  const took = performance.now() - begun;
  assert.equal(answer.status, 504, answer.failure);
  assert.match(answer.text, /PSG4\d{3}/);
  assert.ok(took >= 2000 && took < patience(5000), `${took} ms`);
  await eventually(2000, 'the app’s request was aborted', async () => {
    return (await ask(apache.port, 'a.test', '/aborted')).json<Aborted>().open === 0;
  });
});

rule('an answer that falls silent in its body breaks off after Timeout', {}, async (scene) => {
  const apache = await serve(scene, '', 'Timeout 2');
  const answer = await ask(apache.port, 'a.test', '/sse?n=2&ms=50&open=1', { timeoutMs: 8000 });
  assert.equal(answer.status, 200);
  assert.match(answer.text, /event 1/);
  assert.equal(answer.complete, false);
  assert.ok(answer.doneMs < patience(6000), `${answer.doneMs} ms`);
});

rule('events keep an answer open beyond Timeout', {}, async (scene) => {
  const apache = await serve(scene, '', 'Timeout 1');
  const answer = await ask(apache.port, 'a.test', '/sse?n=6&ms=400');
  assert.ok(answer.complete);
  assert.match(answer.text, /event 5/);
});

const FOUR_WORKERS = [
  'StartServers 1',
  'ServerLimit 1',
  'ThreadsPerChild 4',
  'MinSpareThreads 1',
  'MaxSpareThreads 4',
  'MaxRequestWorkers 4',
].join('\n');

rule(
  'a hung app may hold three quarters of the workers; more is refused at once, all else is served',
  {},
  async (scene) => {
    const hung = await scene.app('probe');
    const well = await scene.app('probe', 'psgapp2');
    const apache = await scene.start({
      server: FOUR_WORKERS,
      vhosts: [site('hung.test', hung), site('well.test', well)],
    });
    apache.allowLog(/PSG\d{4}|AH00484|AH10159/);
    await ask(apache.port, 'hung.test', '/');
    await ask(apache.port, 'well.test', '/');
    const stop = new AbortController();
    const held = [1, 2, 3].map(() => ask(apache.port, 'hung.test', '/hang', { signal: stop.signal }));
    await eventually(5000, 'three hang', async () => (await openSessions(apache)) === 3);
    const begun = performance.now();
    const refused = await ask(apache.port, 'hung.test', '/');
    assert.equal(refused.status, 503, refused.failure);
    assert.notEqual(refused.headers['retry-after'], undefined);
    assert.match(refused.text, /PSG\d{4}/);
    assertWithin(begun, 1000, 'the refusal');
    assert.equal((await ask(apache.port, 'hung.test', '/file.txt')).text, 'a file of public\n');
    assert.equal((await ask(apache.port, 'well.test', '/')).text, 'hello, probe');
    stop.abort();
    await Promise.all(held);
    await eventually(
      3000,
      'the app is served again',
      async () => (await ask(apache.port, 'hung.test', '/')).status === 200,
    );
  },
);

rule('an app in an endless loop does not disturb another app', {}, async (scene) => {
  const busy = await scene.app('probe');
  const well = await scene.app('probe', 'psgapp2');
  const apache = await scene.start({ vhosts: [site('busy.test', busy), site('well.test', well)] });
  await ask(apache.port, 'well.test', '/');
  const spinning = ask(apache.port, 'busy.test', '/spin?ms=3000');
  for (let turn = 0; turn < 20; turn += 1) {
    const begun = performance.now();
    assert.equal((await ask(apache.port, 'well.test', '/')).status, 200);
    assertWithin(begun, 1000, 'an answer of the other app');
  }
  assert.equal((await spinning).text, 'dizzy');
});

rule('a full queue is refused with 503 and Retry-After', {}, async (scene) => {
  const apache = await serve(
    scene,
    'PassengerMaxRequestQueueSize 2\nPassengerForceMaxConcurrentRequestsPerProcess 1',
    'PassengerMaxPoolSize 1',
  );
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => ask(apache.port, 'a.test', '/slow?ms=500')),
  );
  const statuses = answers.map(({ status }) => status);
  assert.equal(statuses.filter((status) => status === 200).length, 3, statuses.join(' '));
  for (const answer of answers.filter(({ status }) => status !== 200)) {
    assert.equal(answer.status, 503);
    assert.notEqual(answer.headers['retry-after'], undefined);
  }
  await logLine(apache, /PSG\d{4}/);
});

rule('too many waiting requests, of all apps together: 503 and Retry-After', {}, async (scene) => {
  const single = 'PassengerForceMaxConcurrentRequestsPerProcess 1\nPassengerMaxInstances 1';
  const [one, two] = [await scene.app('probe'), await scene.app('probe', 'psgapp2')];
  const apache = await scene.start({
    server: 'PassengerMaxWaitingRequests 2',
    vhosts: [site('one.test', one, single), site('two.test', two, single)],
  });
  const hosts = ['one.test', 'two.test'];
  for (const host of hosts) await ask(apache.port, host, '/');
  apache.allowLog(/PSG5020/);
  const answers = await Promise.all(
    [...hosts, ...hosts, ...hosts, ...hosts].map((host) => ask(apache.port, host, '/slow?ms=700')),
  );
  const refused = answers.filter(({ status }) => status === 503);
  assert.equal(answers.filter(({ status }) => status === 200).length, 4, 'two are served and two wait');
  assert.equal(refused.length, 4);
  for (const answer of refused) {
    assert.notEqual(answer.headers['retry-after'], undefined);
    assert.match(answer.text, /PSG5020/);
  }
  await logLine(apache, /PSG5020/);
  assert.equal(apache.log().match(/PSG5020 /g)?.length, 1, 'said once');
  for (const host of hosts) assert.equal((await ask(apache.port, host, '/')).status, 200);
});
