/** Settings: types and defaults come from the table. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PassengerError } from '../../../core/base/errors.js';
import { parseServerSettings } from '../../../core/config/server-config.js';
import {
  settingsFrom,
  type AppSettings,
  type RequestSettings,
  type ServerSettings,
} from '../../../core/config/settings.js';

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof PassengerError) return error.code;
    throw error;
  }
  return 'none';
}

test('a setting that nobody made has its default', () => {
  const server = parseServerSettings([]);
  assert.equal(server.maxPoolSize, 6);
  assert.equal(server.poolIdleTime, 300);
  assert.equal(server.userSwitching, true);
  assert.equal(server.defaultUser, 'nobody');
  assert.deepEqual(server.preStart, []);
  const app = settingsFrom('app');
  assert.equal(app.appEnv, 'production');
  assert.equal(app.forceMaxConcurrentRequestsPerProcess, -1);
  assert.equal(app.appType, '');
  assert.equal(settingsFrom('request').enabled, true);
});

test('friendly error pages follow the environment unless they are set', () => {
  assert.equal(settingsFrom('app').friendlyErrorPages, false);
  assert.equal(settingsFrom('app', { appEnv: 'development' }).friendlyErrorPages, true);
  assert.equal(
    settingsFrom('app', { appEnv: 'development', friendlyErrorPages: 'off' }).friendlyErrorPages,
    false,
  );
});

test('a synonym of an enum value becomes the value', () => {
  assert.equal(settingsFrom('app', { appType: 'nodejs' }).appType, 'node');
});

test('a set collects its lines in their order', () => {
  const settings = parseServerSettings([
    ['PassengerPreStart', 'http://b/'],
    ['PassengerPreStart', 'http://a/'],
  ]);
  assert.deepEqual(settings.preStart, ['http://b/', 'http://a/']);
});

test('settings are frozen, sets included', () => {
  const settings = parseServerSettings([['PassengerPreStart', 'http://a/']]);
  assert.ok(Object.isFrozen(settings));
  assert.ok(Object.isFrozen(settings.preStart));
});

test('an older name sets what its target sets', () => {
  assert.equal(parseServerSettings([['RailsMaxPoolSize', '9']]).maxPoolSize, 9);
});

test('an ignored server directive is accepted and leaves no trace', () => {
  assert.deepEqual(parseServerSettings([['PassengerTurbocaching', 'off']]), parseServerSettings([]));
});

const illegal: [string, string][] = [
  ['PassengerUserSwitching', 'true'],
  ['PassengerUserSwitching', 'On'],
  ['PassengerMaxPoolSize', '0'],
  ['PassengerMaxPoolSize', '65536'],
  ['PassengerMaxPoolSize', '6.0'],
  ['PassengerMaxPoolSize', '06'],
  ['PassengerMaxPoolSize', '-0'],
  ['PassengerMaxPoolSize', '1e2'],
  ['PassengerMaxPoolSize', ''],
  ['PassengerMaxPoolSize', '99999999999999999999'],
  ['PassengerDataBufferDir', 'relative'],
  ['PassengerDefaultUser', 'a\nb'],
];
for (const [name, value] of illegal) {
  test(`${name} refuses ${JSON.stringify(value)}`, () => {
    assert.equal(
      codeOf(() => parseServerSettings([[name, value]])),
      'PSG2002',
    );
  });
}

const cookieTexts: [
  key: 'stickySessionsCookieName' | 'stickySessionsCookieAttributes',
  text: string,
  good: boolean,
][] = [
  ['stickySessionsCookieName', '_r.o-u!t~e', true],
  ['stickySessionsCookieName', '', false],
  ['stickySessionsCookieName', 'a=b', false],
  ['stickySessionsCookieName', 'a;b', false],
  ['stickySessionsCookieName', 'a b', false],
  ['stickySessionsCookieName', 'é', false],
  ['stickySessionsCookieName', 'x'.repeat(65), false],
  ['stickySessionsCookieAttributes', '', true],
  ['stickySessionsCookieAttributes', 'SameSite=Lax; Secure;', true],
  ['stickySessionsCookieAttributes', ' ;; HttpOnly ; Expires=Thu, 01 Jan 2032 00:00:00 GMT', true],
  ['stickySessionsCookieAttributes', 'Domain=', true],
  ['stickySessionsCookieAttributes', '=x', false],
  ['stickySessionsCookieAttributes', 'Same Site=Lax', false],
  ['stickySessionsCookieAttributes', 'HttpOnly\r\nX: y', false],
  ['stickySessionsCookieAttributes', 'HttpOnly;\tSecure', false],
  ['stickySessionsCookieAttributes', 'Domain=bücher.example', false],
  ['stickySessionsCookieAttributes', `Path=/${'x'.repeat(1024)}`, false],
];
for (const [key, text, good] of cookieTexts) {
  test(`${key} ${good ? 'takes' : 'refuses'} ${JSON.stringify(text.slice(0, 60))}`, () => {
    assert.equal(
      codeOf(() => settingsFrom('request', { [key]: text })),
      good ? 'none' : 'PSG2002',
    );
  });
}

test('the refusal names the directive and what is expected, but not the value', () => {
  assert.throws(
    () => parseServerSettings([['PassengerMaxPoolSize', '77777777']]),
    (error: PassengerError) => {
      assert.equal(error.details['directive'], 'PassengerMaxPoolSize');
      assert.equal(error.details['expected'], 'a whole number from 1 to 65535');
      return !JSON.stringify(error.details).includes('77777777');
    },
  );
});

test('a name that is no server directive is refused', () => {
  assert.equal(
    codeOf(() => parseServerSettings([['PassengerNoSuch', '1']])),
    'PSG2003',
  );
  assert.equal(
    codeOf(() => parseServerSettings([['PassengerAppRoot', '/srv']])),
    'PSG2003',
  );
});

test('a wrong type, enum value or scope does not compile', () => {
  const app = settingsFrom('app');
  const server: ServerSettings = parseServerSettings([]);
  const request: RequestSettings = settingsFrom('request');
  // @ts-expect-error ruby is no value of PassengerAppType
  const refused: AppSettings['appType'] = 'ruby';
  // @ts-expect-error a number is no text
  const wrongType: ServerSettings['maxPoolSize'] = 'six';
  // @ts-expect-error a setting of the server is none of an app
  const wrongScope: unknown = app.maxPoolSize;
  // @ts-expect-error ignored directives have no key
  const ignored: unknown = app.ruby;
  // @ts-expect-error settings are read-only
  assert.throws(() => (server.maxPoolSize = 7), TypeError);
  const legal: '' | 'node' | 'meteor' = app.appType;
  const flag: boolean = request.bufferUpload;
  assert.deepEqual(
    [refused, wrongType, wrongScope, ignored, legal, flag],
    ['ruby', 'six', undefined, undefined, '', true],
  );
});
