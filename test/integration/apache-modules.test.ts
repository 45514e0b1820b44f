/** Apache's own modules keep working together with ours. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { gunzipSync, createGunzip } from 'node:zlib';
import { freePort } from '../../core/cli/private-apache.js';
import { serveTls } from './certificate.js';
import { ask, rawTalk } from './client.js';
import { type ProbeRequest, rule } from './kit.js';

async function seen(
  port: number,
  path = '/headers',
  headers = {},
): Promise<Record<string, string | undefined>> {
  const answer = await ask(port, 'a.test', path, { headers });
  assert.equal(answer.status, 200, answer.text);
  return answer.json<ProbeRequest>().headers;
}

rule('mod_rewrite in .htaccess rewrites before the app sees the URI', {}, async (scene) => {
  const app = await scene.app('probe');
  writeFileSync(
    `${app}/public/.htaccess`,
    'RewriteEngine on\nRewriteRule ^legacy/(.*)$ /any/modern/$1 [L]\nRewriteRule ^gone$ - [G]\n',
  );
  const apache = await scene.start({
    modules: ['rewrite'],
    vhosts: [
      {
        name: 'a.test',
        documentRoot: `${app}/public`,
        config: `<Directory ${app}/public>\nAllowOverride All\nOptions +FollowSymLinks\n</Directory>`,
      },
    ],
  });
  const answer = await ask(apache.port, 'a.test', '/legacy/page?x=1');
  assert.equal(answer.json<ProbeRequest>().url, '/any/modern/page?x=1');
  assert.equal((await ask(apache.port, 'a.test', '/gone')).status, 410);
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
});

rule('a front-controller rewrite to files that exist leaves the rest to the app', {}, async (scene) => {
  const { apache } = await scene.serve(
    'probe',
    'ServerAlias www.a.test\nRewriteEngine on\nRewriteCond %{HTTP_HOST} ^www\\.\nRewriteRule ^ http://a.test%{REQUEST_URI} [R=301,L]',
    { modules: ['rewrite'] },
  );
  const moved = await ask(apache.port, 'a.test', '/x', { headers: { Host: 'www.a.test' } });
  assert.equal(moved.status, 301);
  assert.equal(moved.headers.location, 'http://a.test/x');
});

rule('mod_autoindex lists directories only where PassengerEnabled is off', {}, async (scene) => {
  const app = await scene.app('probe');
  const apache = await scene.start({
    vhosts: [
      {
        name: 'a.test',
        documentRoot: `${app}/public`,
        config: `<Directory ${app}/public>\nOptions +Indexes\n</Directory>\n<Location /empty>\nPassengerEnabled off\n</Location>`,
      },
    ],
  });
  assert.match((await ask(apache.port, 'a.test', '/empty/')).text, /note\.txt/);
  assert.equal((await ask(apache.port, 'a.test', '/empty')).status, 301, 'DirectorySlash of mod_dir');
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
});

rule('auth basic guards the app, and its user reaches the app', {}, async (scene) => {
  const app = await scene.app('probe');
  const hash = execFileSync('openssl', ['passwd', '-apr1', 'open-sesame'], { encoding: 'utf8' }).trim();
  writeFileSync(`${app}/users`, `ali:${hash}\n`);
  chmodSync(`${app}/users`, 0o644);
  const apache = await scene.start({
    modules: ['auth_basic', 'authn_core', 'authn_file', 'authz_user'],
    vhosts: [
      {
        name: 'a.test',
        documentRoot: `${app}/public`,
        config: `<Location />\nAuthType Basic\nAuthName closed\nAuthBasicProvider file\nAuthUserFile ${app}/users\nRequire valid-user\n</Location>`,
      },
      { name: 'b.test', documentRoot: `${app}/public` },
    ],
  });
  apache.allowLog(/AH01617|AH01618/);
  assert.equal((await ask(apache.port, 'a.test', '/headers')).status, 401);
  const wrong = await ask(apache.port, 'a.test', '/headers', {
    headers: { Authorization: `Basic ${Buffer.from('ali:guess').toString('base64')}` },
  });
  assert.equal(wrong.status, 401);
  const headers = await seen(apache.port, '/headers', {
    Authorization: `Basic ${Buffer.from('ali:open-sesame').toString('base64')}`,
    'X-Forwarded-User': 'root',
    'Remote-User': 'root',
    Remote_User: 'root',
  });
  assert.equal(headers['x-forwarded-user'], 'ali');
  for (const name of ['remote-user', 'remote_user'])
    assert.equal(headers[name], undefined, 'a client cannot claim a user');
  const open = await ask(apache.port, 'b.test', '/headers', { headers: { 'X-Forwarded-User': 'root' } });
  assert.equal(
    open.json<ProbeRequest>().headers['x-forwarded-user'],
    undefined,
    'nor where nobody asks for one',
  );
});

rule('mod_deflate compresses answers of the app, once', {}, async (scene) => {
  const { apache } = await scene.serve('probe', 'SetOutputFilter DEFLATE', {
    modules: ['deflate', 'filter'],
  });
  const answer = await ask(apache.port, 'a.test', '/compressible?n=1000', {
    headers: { 'Accept-Encoding': 'gzip' },
  });
  assert.equal(answer.headers['content-encoding'], 'gzip');
  assert.ok(answer.body.length < 5000);
  assert.equal(gunzipSync(answer.body).length, 28 * 1000);
});

rule('server-sent events pass mod_deflate one by one', {}, async (scene) => {
  const { apache } = await scene.serve('probe', 'SetOutputFilter DEFLATE', {
    modules: ['deflate', 'filter'],
  });
  const gunzip = createGunzip();
  const arrivals: number[] = [];
  gunzip.on('error', () => undefined);
  const begun = performance.now();
  gunzip.on('data', () => arrivals.push(performance.now() - begun));
  const answer = await ask(apache.port, 'a.test', '/sse?n=3&ms=300', {
    headers: { 'Accept-Encoding': 'gzip' },
    onData: (part) => gunzip.write(part),
  });
  assert.ok(answer.complete);
  assert.equal(answer.headers['content-encoding'], 'gzip');
  const [first = 0] = arrivals;
  assert.ok(
    arrivals.length >= 2 && (arrivals.at(-1) ?? 0) - first > 250,
    `events apart: ${arrivals.join(' ')}`,
  );
  gunzip.destroy();
});

rule('mod_headers changes requests and answers of the app', {}, async (scene) => {
  const { apache } = await scene.serve(
    'probe',
    'RequestHeader set X-From-Admin yes\nRequestHeader unset X-Unwanted\nHeader always set X-Frame-Options DENY\nHeader always unset X-Powered-By\nHeader unset X-Powered-By',
    { modules: ['headers'] },
  );
  const answer = await ask(apache.port, 'a.test', '/headers', { headers: { 'X-Unwanted': 'x' } });
  const headers = answer.json<ProbeRequest>().headers;
  assert.equal(headers['x-from-admin'], 'yes');
  assert.equal(headers['x-unwanted'], undefined);
  assert.equal(answer.headers['x-frame-options'], 'DENY');
  assert.equal(answer.headers['x-powered-by'], undefined);
});

rule('mod_remoteip decides who the client is', {}, async (scene) => {
  const { apache } = await scene.serve(
    'probe',
    'RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1',
    { modules: ['remoteip'] },
  );
  const headers = await seen(apache.port, '/headers', { 'X-Forwarded-For': '203.0.113.7' });
  assert.equal((headers['x-forwarded-for'] ?? '').split(',')[0]?.trim(), '203.0.113.7');
  const trusted = await seen(apache.port, '/headers', {
    'X-Forwarded-For': '203.0.113.7',
    'X-Forwarded-Proto': 'https',
  });
  assert.equal(trusted['x-forwarded-proto'], 'https', 'what the proxy says beside the address');
});

rule('the PROXY protocol tells the address and nothing else: fields stay the client’s', {}, async (scene) => {
  const app = await scene.app('probe');
  const port = await freePort();
  const front = `Listen 127.0.0.1:${port}
<VirtualHost 127.0.0.1:${port}>
ServerName a.test
DocumentRoot ${app}/public
<Directory ${app}/public>
Require all granted
</Directory>
RemoteIPProxyProtocol On
</VirtualHost>`;
  const apache = await scene.start({
    modules: ['remoteip'],
    server: front,
    vhosts: [{ name: 'a.test', documentRoot: `${app}/public` }],
  });
  await ask(apache.port, 'a.test', '/');
  const answer = await rawTalk(
    port,
    'PROXY TCP4 203.0.113.9 127.0.0.1 5555 80\r\nGET /headers HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n' +
      'X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 666\r\nX-Real-IP: 6.6.6.6\r\n\r\n',
  );
  assert.match(answer, /"x-forwarded-for": "203\.0\.113\.9"/);
  assert.match(answer, /"x-real-ip": "203\.0\.113\.9"/);
  assert.match(answer, /"x-forwarded-proto": "http"/);
  assert.doesNotMatch(answer, /evil|666|6\.6\.6\.6/);
});

rule('TLS: the app learns https, and bodies pass', {}, async (scene) => {
  const { apache, tlsPort } = await serveTls(scene);
  const answer = await ask(tlsPort, 'a.test', '/headers', { tls: true });
  assert.equal(answer.status, 200, answer.failure);
  const headers = answer.json<ProbeRequest>().headers;
  assert.equal(headers['x-forwarded-proto'], 'https');
  assert.equal(headers['x-forwarded-host'], 'a.test');
  const body = Buffer.alloc(3_000_000, 'tls');
  const sha = await ask(tlsPort, 'a.test', '/sha', { tls: true, body });
  assert.equal(sha.json<{ length: number }>().length, body.length);
  assert.equal((await seen(apache.port))['x-forwarded-proto'], 'http', 'the plain port stays http');
});

rule('HTTPS=on by SetEnvIf counts as TLS, the claim of a client alone does not', {}, async (scene) => {
  const { apache } = await scene.serve('probe', 'SetEnvIf X-Balancer-Proto ^https$ HTTPS=on', {
    modules: ['setenvif'],
  });
  assert.equal((await seen(apache.port))['x-forwarded-proto'], 'http');
  assert.equal(
    (await seen(apache.port, '/headers', { 'X-Balancer-Proto': 'https' }))['x-forwarded-proto'],
    'https',
  );
  assert.equal(
    (await seen(apache.port, '/headers', { 'X-Forwarded-Proto': 'https' }))['x-forwarded-proto'],
    'http',
  );
});

rule('PassengerErrorOverride puts ErrorDocument in place of the app’s error pages', {}, async (scene) => {
  const { apache } = await scene.serve(
    'probe',
    'ErrorDocument 404 /file.txt\nErrorDocument 500 "our own words"\n<Location /status-code>\nPassengerErrorOverride on\n</Location>',
  );
  const missing = await ask(apache.port, 'a.test', '/status-code?code=404');
  assert.equal(missing.status, 404);
  assert.equal(missing.text, 'a file of public\n');
  assert.equal((await ask(apache.port, 'a.test', '/status-code?code=500')).text, 'our own words');
  const plain = await ask(apache.port, 'a.test', '/nothing');
  assert.equal(plain.text, 'the probe knows no /nothing\n', 'off elsewhere');
  assert.equal((await ask(apache.port, 'a.test', '/status-code?code=200')).text, 'answer 200 of the app\n');
});

rule('access control of Apache comes before the app', {}, async (scene) => {
  const { apache } = await scene.serve('probe', '<Location /any/secret>\nRequire all denied\n</Location>');
  assert.equal((await ask(apache.port, 'a.test', '/any/secret/x')).status, 403);
  assert.equal((await ask(apache.port, 'a.test', '/any/public')).status, 200);
  apache.allowLog(/AH01630/);
});

rule('mod_proxy takes what it was given, the app the rest', {}, async (scene) => {
  const target = await scene.serve('probe');
  const { apache } = await scene.serve(
    'probe',
    `ProxyPreserveHost on\nProxyPass /there http://127.0.0.1:${target.apache.port}/any`,
    {
      modules: ['proxy', 'proxy_http'],
    },
  );
  const there = await ask(apache.port, 'a.test', '/there/x');
  assert.equal(there.json<ProbeRequest>().url, '/any/x');
  assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
});
