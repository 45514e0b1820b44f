/** What becomes of open tunnels when something on their way ends: app, core, Apache's generation, the whole server. */
import assert from 'node:assert/strict';
import { utimesSync, writeFileSync } from 'node:fs';
import type { Mpm } from '../../core/cli/private-apache.js';
import { ask } from '../integration/client.js';
import {
  alive,
  apacheChildren,
  appPids,
  corePid,
  fdCount,
  needsPackage,
  rssKb,
  rule,
} from '../integration/kit.js';
import { behindHead, Chat, upgrade } from '../integration/ws-client.js';
import { eventually } from '../support/eventually.js';
import { assertWithin } from '../support/patience.js';

const MPMS: readonly Mpm[] = ['event', 'worker', 'prefork'];
const OPTIONS = { root: true, skip: needsPackage('ws') };
const WATCH = 'PassengerStatThrottleRate 0';
const OFF = 'PassengerAbortWebsocketsOnProcessShutdown off';

for (const mpm of MPMS) {
  rule(`${mpm}: when the app is killed its clients see their connections end`, OPTIONS, async (scene) => {
    const { apache, app } = await scene.serve('tunnel-app', '', { mpm });
    apache.allowLog(/PSG5005/);
    const chat = await Chat.open(apache.port);
    const raw = await upgrade(apache.port, '/echo');
    for (const pid of appPids(apache, app)) process.kill(pid, 'SIGKILL');
    assert.equal((await chat.ended(5000)).code, 1006);
    await eventually(5000, 'the raw tunnel ends', () => raw.ended);
    raw.close();
    assert.equal(await (await Chat.open(apache.port)).say('again'), 'again', 'the next process serves');
  });

  rule(`${mpm}: when the core is killed tunnels end, and not as if all were well`, OPTIONS, async (scene) => {
    const { apache } = await scene.serve('tunnel-app', '', { mpm });
    apache.allowLog(/PSG\d{4}/);
    const chat = await Chat.open(apache.port);
    const raw = await upgrade(apache.port, '/echo');
    let failure = '';
    raw.socket.on('error', (error: NodeJS.ErrnoException) => (failure = error.code ?? ''));
    process.kill(corePid(apache), 'SIGKILL');
    assert.equal((await chat.ended(5000)).code, 1006);
    await eventually(5000, 'the raw tunnel ends', () => raw.ended);
    assert.equal(failure, 'ECONNRESET');
    const next = await eventually(15_000, 'a new tunnel', () =>
      Chat.open(apache.port).catch(() => undefined),
    );
    assert.equal(await next.say('again'), 'again');
  });

  rule(`${mpm}: a restart of the app ends its tunnels`, OPTIONS, async (scene) => {
    const { apache, app } = await scene.serve('tunnel-app', '', { mpm, server: WATCH });
    const chat = await Chat.open(apache.port);
    const before = await chat.say('pid');
    touch(`${app}/tmp/restart.txt`);
    assert.equal((await ask(apache.port, 'a.test', '/')).text, 'plain');
    assert.equal((await chat.ended(5000)).code, 1006);
    assert.notEqual(await (await Chat.open(apache.port)).say('pid'), before);
    await eventually(10_000, 'the old process is gone', () => !alive(Number(before)));
  });

  rule(
    `${mpm}: with the directive off a tunnel outlives a restart, until the drain's limit`,
    OPTIONS,
    async (scene) => {
      const { apache, app } = await scene.serve('tunnel-app', `${OFF}\nPassengerDrainTimeout 3`, {
        mpm,
        server: WATCH,
      });
      apache.allowLog(/PSG5007/);
      const chat = await Chat.open(apache.port);
      const before = await chat.say('pid');
      touch(`${app}/tmp/restart.txt`);
      assert.notEqual(await (await Chat.open(apache.port)).say('pid'), before);
      assert.equal(await chat.say('still here'), 'still here');
      await chat.ended(15_000);
      await eventually(15_000, 'the old process is gone', () => !alive(Number(before)));
    },
  );

  rule(`${mpm}: a reload ends tunnels once the new process serves`, OPTIONS, async (scene) => {
    const { apache } = await scene.serve('tunnel-app', '', { mpm });
    const chat = await Chat.open(apache.port);
    await chat.say('hello');
    const old = apacheChildren(apache);
    apache.kill('SIGUSR1');
    await chat.ended(15_000);
    await eventually(20_000, 'the old children are gone', () => old.every((pid) => !alive(pid)));
    assert.equal(await (await Chat.open(apache.port)).say('new'), 'new');
  });

  rule(
    `${mpm}: a reload leaves tunnels alone where the app is not redeployed, for the drain's time`,
    OPTIONS,
    async (scene) => {
      const config = `PassengerRedeployOnReload off\nPassengerDrainTimeout 4`;
      const { apache } = await scene.serve('tunnel-app', config, { mpm });
      const chat = await Chat.open(apache.port);
      await chat.say('hello');
      const old = apacheChildren(apache);
      apache.kill('SIGUSR1');
      await new Promise((turn) => setTimeout(turn, 2000));
      assert.equal(await chat.say('still here'), 'still here');
      await chat.ended(15_000);
      await eventually(15_000, 'the old children are gone', () => old.every((pid) => !alive(pid)));
    },
  );

  rule(`${mpm}: the server stops with open tunnels as fast as without`, OPTIONS, async (scene) => {
    const { apache } = await scene.serve('tunnel-app', OFF, { mpm });
    const chats = [await Chat.open(apache.port), await Chat.open(apache.port)];
    for (const chat of chats) await chat.say('hello');
    const begun = performance.now();
    await apache.stop();
    assertWithin(begun, 12_000, 'the stop');
    for (const chat of chats) await chat.ended(5000);
  });
}

rule(
  'event: a child that has served its connections goes when its tunnels have ended',
  OPTIONS,
  async (scene) => {
    const { apache } = await scene.serve('tunnel-app', '', {
      mpm: 'event',
      server:
        'StartServers 1\nServerLimit 4\nThreadsPerChild 4\nMaxRequestWorkers 16\nMinSpareThreads 1\nMaxSpareThreads 8\nMaxConnectionsPerChild 5',
    });
    const chat = await Chat.open(apache.port);
    assert.equal(await chat.say('hello'), 'hello');
    const old = apacheChildren(apache);
    for (let turn = 0; turn < 20; turn += 1) await ask(apache.port, 'a.test', '/');
    assert.equal(await chat.say('still here'), 'still here');
    chat.socket.close(1000);
    await chat.ended();
    await eventually(20_000, 'the child is gone', () => old.some((pid) => !alive(pid)));
  },
);

rule('event: thousand tunnels that come and go leave nothing behind', OPTIONS, async (scene) => {
  const { apache } = await scene.serve('tunnel-app', '', {
    mpm: 'event',
    server:
      'StartServers 1\nServerLimit 1\nThreadsPerChild 8\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 8\nAsyncRequestWorkerFactor 100\nPassengerMaxWorkerShare 100',
  });
  apache.allowLog(/AH00484|AH10159/);
  const child = (): number => apacheChildren(apache)[0] ?? 0;
  const round = async (index: number): Promise<void> => {
    const client = await upgrade(apache.port, '/echo', 'x'.repeat(index * 10));
    if (index % 3 === 0) client.close();
    else client.socket.end();
    if (index % 3 !== 0)
      await eventually(10_000, 'the goodbye', () => behindHead(client).endsWith('goodbye'));
    client.close();
  };
  for (let turn = 0; turn < 10; turn += 1) {
    await Promise.all(Array.from({ length: 100 }, (_, index) => round(index)));
  }
  assert.equal(apacheChildren(apache).length, 1);
  await eventually(10_000, 'all descriptors are closed', () => fdCount(child()) < 60);
  assert.ok(rssKb(child()) < 60_000, `${rssKb(child())} KB`);
});

function touch(path: string): void {
  writeFileSync(path, '');
  const soon = new Date(Date.now() + 1000);
  utimesSync(path, soon, soon);
}
