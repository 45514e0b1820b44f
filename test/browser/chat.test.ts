/** The demo's chat in a real browser: two pages talk through Apache, and connect again when the app is replaced. */
import assert from 'node:assert/strict';
import { utimesSync, writeFileSync } from 'node:fs';
import { serveTls } from '../integration/certificate.js';
import { ask } from '../integration/client.js';
import { needsPackage, rule, type Scene } from '../integration/kit.js';
import type { Apache } from '../support/apache.js';
import { eventually } from '../support/eventually.js';
import { Chromium, NEEDS_CHROMIUM, type Page } from './chromium.js';

const OPTIONS = {
  skip: needsPackage('ws') === false ? NEEDS_CHROMIUM : needsPackage('ws'),
  timeoutMs: 180_000,
};
const SEEN_MS = 30_000;
/** The next request already finds a new restart.txt. */
const AT_ONCE = 'PassengerStatThrottleRate 0';

interface Site {
  readonly apache: Apache;
  readonly app: string;
  readonly url: string;
}

async function plainSite(scene: Scene): Promise<Site> {
  const { apache, app } = await scene.serve('chat', '', { server: AT_ONCE });
  return { apache, app, url: `http://a.test:${apache.port}/` };
}

async function tlsSite(scene: Scene, config = '', modules: readonly string[] = []): Promise<Site> {
  const { apache, app, tlsPort } = await serveTls(scene, `${AT_ONCE}\n${config}`, modules, { app: 'chat' });
  return { apache, app, url: `https://a.test:${tlsPort}/` };
}

/** The process that serves a page, once it says that `count` people are here. */
function servedBy(page: Page, count: number): Promise<string> {
  return eventually(SEEN_MS, `a page with ${count} people`, async () => {
    const found = /^Connected to process (\d+), (\d+) here/.exec(await page.text('#status'));
    return found !== null && Number(found[2]) === count && found[1];
  });
}

async function saysTo(speaker: Page, listener: Page, text: string): Promise<void> {
  await speaker.type('#text', text);
  for (const page of [speaker, listener])
    await eventually(SEEN_MS, `"${text}" in a page`, async () =>
      (await page.text('#messages li')).endsWith(text),
    );
}

async function restart({ apache, app }: Site): Promise<void> {
  const file = `${app}/tmp/restart.txt`;
  writeFileSync(file, '');
  utimesSync(file, new Date(), new Date());
  assert.equal((await ask(apache.port, 'a.test', '/')).status, 200);
}

/** Two pages talk, `replace` ends the process that serves them, and they go on without a hand on them. */
async function talkAcross(site: Site, replace: () => Promise<void>): Promise<Page> {
  const browser = await Chromium.start();
  const one = await browser.open(site.url);
  const two = await browser.open(site.url);
  const before = await servedBy(one, 2);
  await saysTo(one, two, 'hello from one');
  await saysTo(two, one, 'ünd zurück 🙂');
  await one.value('window.neverReloaded = true');
  await replace();
  await eventually(SEEN_MS, 'a new process', async () => (await servedBy(one, 2)) !== before);
  await servedBy(two, 2);
  await saysTo(two, one, 'are you still there');
  await saysTo(one, two, 'yes, I am');
  assert.equal(await one.value('window.neverReloaded'), true, 'the page itself stayed');
  return one;
}

rule('http: pages chat, and reconnect by themselves after restart.txt', OPTIONS, async (scene) => {
  const site = await plainSite(scene);
  await talkAcross(site, () => restart(site));
});

rule('http: pages chat, and reconnect by themselves after apachectl graceful', OPTIONS, async (scene) => {
  const site = await plainSite(scene);
  await talkAcross(site, async () => {
    await site.apache.graceful();
    assert.equal((await ask(site.apache.port, 'a.test', '/')).status, 200);
  });
});

rule('https: pages chat, and reconnect by themselves after restart.txt', OPTIONS, async (scene) => {
  const site = await tlsSite(scene);
  const page = await talkAcross(site, () => restart(site));
  assert.equal(await page.value('socket.url.startsWith("wss://")'), true);
});

rule('https with HTTP/2: the page comes over h2, its WebSocket beside it', OPTIONS, async (scene) => {
  const site = await tlsSite(scene, 'Protocols h2 http/1.1', ['http2']);
  const page = await talkAcross(site, () => restart(site));
  assert.equal(await page.value('performance.getEntriesByType("navigation")[0].nextHopProtocol'), 'h2');
});
