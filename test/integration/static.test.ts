/** Files under public/ and the page cache stay with Apache; everything else goes to the app. */
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { ask } from './client.js';
import { rule } from './kit.js';

function fromApache(answer: { headers: Record<string, unknown> }): boolean {
  return answer.headers['etag'] !== undefined && answer.headers['x-powered-by'] === undefined;
}

rule('a file of public/ is served by Apache without the app', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  const answer = await ask(apache.port, 'a.test', '/file.txt');
  assert.equal(answer.text, 'a file of public\n');
  assert.ok(fromApache(answer));
  assert.equal(
    apache.processes().filter((process) => process.title.startsWith('Passenger NodeApp')).length,
    0,
    'no app was started for it',
  );
});

rule(
  'page cache: GET and HEAD of /about serve public/about.html, POST goes to the app',
  {},
  async (scene) => {
    const { apache } = await scene.serve('probe');
    const page = await ask(apache.port, 'a.test', '/about');
    assert.match(page.text, /about, from the page cache/);
    assert.match(String(page.headers['content-type']), /^text\/html/);
    const head = await ask(apache.port, 'a.test', '/about', { method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.ok(fromApache(head));
    const post = await ask(apache.port, 'a.test', '/about', { method: 'POST', body: 'x' });
    assert.equal(post.status, 404);
    assert.match(post.text, /the probe knows no \/about/);
  },
);

// Passenger 6.0.17 answers /docs/ with docs/index.html, hands /docs and /empty/ to the app, and makes neither a
// redirect (mod_dir) nor a listing (mod_autoindex).
rule(
  'a directory with index.html is served at its URL with slash; without index it is the app’s',
  {},
  async (scene) => {
    const { apache } = await scene.serve('probe', '<Location />\nOptions +Indexes\n</Location>', {});
    const index = await ask(apache.port, 'a.test', '/docs/');
    assert.match(index.text, /docs index/);
    for (const path of ['/docs', '/empty', '/empty/']) {
      const answer = await ask(apache.port, 'a.test', path);
      assert.equal(answer.status, 404, path);
      assert.equal(answer.text, `the probe knows no ${path}\n`);
    }
  },
);

rule('a directory without slash serves its .html twin', {}, async (scene) => {
  const app = await scene.app('probe');
  writeFileSync(`${app}/public/docs.html`, 'twin of docs\n');
  const apache = await scene.start({ vhosts: [{ name: 'a.test', documentRoot: `${app}/public` }] });
  assert.equal((await ask(apache.port, 'a.test', '/docs')).text, 'twin of docs\n');
});

rule('the root URL goes to the app, unless public/index.html is there', {}, async (scene) => {
  const { apache, app } = await scene.serve('probe');
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
  writeFileSync(`${app}/public/index.html`, 'static front page\n');
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'static front page\n');
});

// Passenger 6.0.17 answers 405 by Apache: any method on a path that is a file stays with Apache (reference §6.2).
rule('PUT and DELETE on the path of a file stay with Apache', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  for (const method of ['PUT', 'DELETE']) {
    const answer = await ask(apache.port, 'a.test', '/file.txt', { method, body: 'x' });
    assert.equal(answer.status, 405, method);
  }
  apache.allowLog(/AH00(127|128|1276)/);
});

rule('source files of the app are never served', {}, async (scene) => {
  const { apache } = await scene.serve('probe');
  for (const path of ['/app.js', '/../app.js', '/%2e%2e/app.js', '/public/app.js', '/version.txt']) {
    const answer = await ask(apache.port, 'a.test', path);
    assert.doesNotMatch(answer.text, /The probe: a plain node:http app/, path);
    assert.notEqual(answer.status, 200, path);
  }
  apache.allowLog(/AH10244|AH00026|AH10508/);
});

rule('a symlink below public/ follows Apache’s own rules', {}, async (scene) => {
  const app = await scene.app('probe');
  mkdirSync(`${app}/outside`);
  writeFileSync(`${app}/outside/page.txt`, 'linked\n');
  symlinkSync('../outside', `${app}/public/linked`);
  const apache = await scene.start({
    vhosts: [
      {
        name: 'a.test',
        documentRoot: `${app}/public`,
        config: `<Directory ${app}/public>\nOptions -FollowSymLinks -SymLinksIfOwnerMatch\n</Directory>`,
      },
    ],
  });
  const answer = await ask(apache.port, 'a.test', '/linked/page.txt');
  assert.doesNotMatch(answer.text, /linked\n/);
  apache.allowLog(/AH00037/);
});

rule('PassengerEnabled off leaves the place to Apache', {}, async (scene) => {
  const { apache } = await scene.serve('probe', '<Location /empty>\nPassengerEnabled off\n</Location>');
  assert.equal((await ask(apache.port, 'a.test', '/empty/note.txt')).status, 200);
  const gone = await ask(apache.port, 'a.test', '/empty/nothing');
  assert.equal(gone.status, 404);
  assert.doesNotMatch(gone.text, /probe/);
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
});
