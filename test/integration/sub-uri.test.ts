/** Apps below a URI of a site: PassengerBaseURI with a symlink, and Alias + Location. */
import assert from 'node:assert/strict';
import { mkdtempSync, symlinkSync, writeFileSync, chmodSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ask } from './client.js';
import { type ProbeRequest, type Scene, rule } from './kit.js';

async function withSite(scene: Scene, body: (site: string, app: string) => Promise<void>): Promise<void> {
  const app = await scene.app('probe');
  const site = mkdtempSync(join(tmpdir(), 'psg-site-'));
  chmodSync(site, 0o755);
  writeFileSync(`${site}/index.html`, 'static site\n');
  try {
    await body(site, app);
  } finally {
    rmSync(site, { recursive: true });
  }
}

async function checkSubApp(port: number, base: string): Promise<void> {
  assert.equal((await ask(port, 'a.test', base)).text, 'hello, probe', 'without slash: no redirect');
  assert.equal((await ask(port, 'a.test', `${base}/`)).text, 'hello, probe');
  // The full path, base included, is forwarded (reference §6.2).
  assert.equal((await ask(port, 'a.test', `${base}/url?x=1`)).json<ProbeRequest>().url, `${base}/url?x=1`);
  const env = (await ask(port, 'a.test', `${base}/env`)).json<Record<string, string>>();
  assert.equal(env['PASSENGER_BASE_URI'], base);
  assert.equal((await ask(port, 'a.test', `${base}/file.txt`)).text, 'a file of public\n');
  assert.match((await ask(port, 'a.test', `${base}/about`)).text, /from the page cache/);
}

rule('PassengerBaseURI with a symlink to public/ serves the app below it', {}, async (scene) => {
  await withSite(scene, async (site, app) => {
    symlinkSync(`${app}/public`, `${site}/sub`);
    const apache = await scene.start({
      vhosts: [{ name: 'a.test', documentRoot: site, config: 'PassengerBaseURI /sub' }],
    });
    await checkSubApp(apache.port, '/sub');
    assert.equal((await ask(apache.port, 'a.test', '/')).text, 'static site\n');
    const near = await ask(apache.port, 'a.test', '/subway');
    assert.equal(near.status, 404);
    assert.doesNotMatch(near.text, /probe/, 'only whole path segments match');
  });
});

rule(
  'Alias and Location with PassengerBaseURI and PassengerAppRoot serve the app below them',
  {},
  async (scene) => {
    await withSite(scene, async (site, app) => {
      const apache = await scene.start({
        vhosts: [
          {
            name: 'a.test',
            documentRoot: site,
            config: [
              `Alias /sub ${app}/public`,
              '<Location /sub>',
              'PassengerBaseURI /sub',
              `PassengerAppRoot ${app}`,
              '</Location>',
              `<Directory ${app}/public>`,
              'Require all granted',
              '</Directory>',
            ].join('\n'),
          },
        ],
      });
      await checkSubApp(apache.port, '/sub');
      assert.equal((await ask(apache.port, 'a.test', '/')).text, 'static site\n');
    });
  },
);

rule('an app at the root and another below a URI live side by side', {}, async (scene) => {
  const front = await scene.app('probe');
  const below = await scene.app('probe');
  writeFileSync(`${below}/version.txt`, 'below');
  const apache = await scene.start({
    vhosts: [
      {
        name: 'a.test',
        documentRoot: `${front}/public`,
        config: `Alias /sub ${below}/public\n<Location /sub>\nPassengerBaseURI /sub\nPassengerAppRoot ${below}\n</Location>\n<Directory ${below}/public>\nRequire all granted\n</Directory>`,
      },
    ],
  });
  assert.equal((await ask(apache.port, 'a.test', '/version')).text, '1');
  assert.equal((await ask(apache.port, 'a.test', '/sub/version')).text, 'below');
});
