/** The cookie of sticky sessions: what counts as an id in a request, and what goes out in an answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeAppConfig, type RequestConfig } from '../../../core/config/app-config.js';
import { settingsFrom } from '../../../core/config/settings.js';
import { cookieIds, keptBySharedCaches, routeCookie } from '../../../core/routing/sticky-cookie.js';

const A = 'AAAAAAAAAAAAAAAA';
const B = 'b-b_BBBBBBBBBBB9';

function block(...fields: readonly string[]): Buffer {
  return Buffer.from(['GET / HTTP/1.1', ...fields, ''].join('\r\n'), 'latin1');
}

const READINGS: readonly (readonly [why: string, fields: readonly string[], ids: readonly string[]])[] = [
  ['no cookie', ['Host: a.test'], []],
  ['the only cookie', [`Cookie: r=${A}`], [A]],
  ['among others', [`Cookie: x=1; r=${A}; y=2`], [A]],
  ['without blanks', [`Cookie: x=1;r=${A};y=2`], [A]],
  ['with many blanks', [`Cookie:   x=1 ;   r =  ${A}\t; y=2`], [A]],
  ['in quotes', [`Cookie: r="${A}"`], [A]],
  ['in one quote', [`Cookie: r="${A}`], []],
  ['a field in lower case, as in HTTP/2', [`cookie: r=${A}`], [A]],
  ['several fields', ['Cookie: x=1', 'Host: a.test', `COOKIE: r=${A}`], [A]],
  ['fields that HTTP/2 has split', ['cookie: x=1', `cookie: r=${A}`, 'cookie: y=2'], [A]],
  ['fields that Apache has joined', [`Cookie: x=1, r=${A}, y=2; r=${B}`], [A, B]],
  ['the same name twice, as of apps below each other', [`Cookie: r=${A}; r=${B}`], [A, B]],
  ['the same value twice', [`Cookie: r=${A}; r=${A}`], [A]],
  ['names differ by case', [`Cookie: R=${A}`], []],
  ['a longer name', [`Cookie: xr=${A}; rr=${B}; r2=${A}`], []],
  ['the name as a value', ['Cookie: x=r; r'], []],
  ['empty', ['Cookie: r=', 'Cookie:', 'Cookie: r=""'], []],
  ['too short, too long', [`Cookie: r=1234567; r=${'x'.repeat(65)}`], []],
  ['signs that no id has', [`Cookie: r=${A}%; r=AAAA AAAA AAAA; r=AAAAAAAA\u00e9; r=../../etc/passwd`], []],
  ['an equals sign behind it', [`Cookie: r==${A}`], []],
  ['a name that only begins like the field', [`Cookies: r=${A}`, `X-Cookie: r=${A}`, `Cookie2: r=${A}`], []],
  ['somebody who hides it in a value', [`Cookie: x="a; r=${A}; b"`], [A]],
];

for (const [why, fields, ids] of READINGS) {
  test(`ids in a request: ${why}`, () => assert.deepEqual(cookieIds(block(...fields), 'r'), ids));
}

test('the name of the cookie may hold signs that mean something in patterns', () => {
  assert.deepEqual(cookieIds(block(`Cookie: rxx=${A}; r.*=${B}`), 'r.*'), [B]);
});

test('a flood of cookies is not read to its end', () => {
  const pairs = Array.from({ length: 5000 }, (_, index) => `r=forged-id-${10_000 + index}`).join('; ');
  assert.equal(cookieIds(block(`Cookie: ${pairs}`), 'r').length, 16);
  const blanks = `Cookie: ${' '.repeat(40_000)}r=${A}`;
  assert.deepEqual(cookieIds(block(blanks), 'r'), []);
  const fields = Array.from({ length: 100 }, () => `Cookie: ${'rr=;'.repeat(2000)}`);
  const begun = performance.now();
  assert.deepEqual(cookieIds(block(...fields, `Cookie: r=${A}`), 'r'), []);
  assert(performance.now() - begun < 500);
});

test('whatever is in the header block: no exception, and ids that are ids', () => {
  const parts = [
    'r',
    '=',
    '"',
    ';',
    ',',
    ' ',
    '\t',
    A,
    'Cookie:',
    'cookie: ',
    '\r\n',
    '\u0080\u00ff',
    '\0',
    'x',
  ];
  let state = 7;
  const next = (limit: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % limit;
  };
  for (let turn = 0; turn < 5000; turn += 1) {
    const text = Array.from({ length: next(40) }, () => parts[next(parts.length)]).join('');
    for (const bytes of [Buffer.from(text, 'latin1'), block(`Cookie: ${text}`)]) {
      for (const id of cookieIds(bytes, 'r')) assert.match(id, /^[A-Za-z0-9_-]{8,64}$/);
    }
  }
});

function config(texts: Parameters<typeof settingsFrom<'request'>>[1] = {}, baseUri = '/'): RequestConfig {
  const facts = {
    appRoot: '/srv/shop',
    baseUri,
    documentRoot: '',
    found: 'node' as const,
    foundStartupFile: 'app.js',
    env: [],
  };
  const app = makeAppConfig(facts, settingsFrom('app'));
  return { app, request: settingsFrom('request', texts), serverName: 'a.test' };
}

const COOKIES: readonly (readonly [Parameters<typeof config>[0], string, boolean, string])[] = [
  [{}, '/', false, `_passenger_route=${A}; Path=/; HttpOnly; SameSite=Lax`],
  [{}, '/', true, `_passenger_route=${A}; Path=/; HttpOnly; SameSite=Lax; Secure`],
  [{ stickySessionsCookieName: 'r' }, '/shop', false, `r=${A}; Path=/shop; HttpOnly; SameSite=Lax`],
  [{}, '/a b;c,ü', false, `_passenger_route=${A}; Path=/a%20b%3Bc%2C%C3%BC; HttpOnly; SameSite=Lax`],
  [
    { stickySessionsCookieAttributes: 'SameSite=Lax; Secure;' },
    '/',
    false,
    `_passenger_route=${A}; Path=/; SameSite=Lax; Secure`,
  ],
  [
    { stickySessionsCookieAttributes: 'HttpOnly; path=/else' },
    '/shop',
    true,
    `_passenger_route=${A}; HttpOnly; path=/else`,
  ],
];

for (const [texts, baseUri, tls, expected] of COOKIES) {
  test(`Set-Cookie is ${expected}`, () => {
    assert.equal(routeCookie(config(texts, baseUri), A, tls, undefined), expected);
  });
}

test('who has the right cookie gets none; who has others, too, keeps them', () => {
  const place = config();
  assert.equal(routeCookie(place, A, false, { ids: [A] }), undefined);
  assert.equal(routeCookie(place, A, false, { ids: [B, A] }), undefined);
  assert.match(routeCookie(place, A, false, { ids: [B] }) ?? '', /^_passenger_route=A/);
  assert.match(routeCookie(place, A, false, { ids: [], session: 's' }) ?? '', /^_passenger_route=A/);
});

test('a cookie that ends by itself is renewed with each answer', () => {
  for (const attributes of ['Max-Age=60; HttpOnly', 'HttpOnly; expires=Thu, 01 Jan 2032 00:00:00 GMT']) {
    const place = config({ stickySessionsCookieAttributes: attributes });
    assert.notEqual(routeCookie(place, A, false, { ids: [A] }), undefined);
  }
});

const CACHE_CONTROL: readonly (readonly [value: string, kept: boolean])[] = [
  ['', false],
  ['max-age=60', false],
  ['no-store', false],
  ['public', true],
  ['Public, Max-Age=31536000, immutable', true],
  ['public, max-age=0', false],
  ['public, no-cache', false],
  ['private, max-age=60', false],
  ['s-maxage=60', true],
  ['max-age=0, s-maxage="60"', true],
  ['public, max-age=60, s-maxage=0', false],
  ['public, private="set-cookie"', false],
  ['x-public, max-age=9', false],
];

for (const [value, kept] of CACHE_CONTROL) {
  test(`Cache-Control: ${value} is ${kept ? '' : 'not '}for shared caches`, () => {
    assert.equal(keptBySharedCaches(value), kept);
  });
}
