/** What a request says about its process: cookies first, then the session of SockJS in its URL. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settingsFrom } from '../../../core/config/settings.js';
import { sockjsSession, stickyWish } from '../../../core/routing/sticky-wish.js';

const block = (target: string, fields = ''): Buffer =>
  Buffer.from(`POST ${target} HTTP/1.1\r\n${fields}`, 'latin1');

const TARGETS: readonly (readonly [target: string, session: string | undefined])[] = [
  ['/sockjs/000/abcdefgh/xhr', 'abcdefgh'],
  ['/sockjs/000/abcdefgh/xhr_send?t=1', 'abcdefgh'],
  ['/a/b/c/123/s-1_x/xhr_streaming/', 's-1_x'],
  ['/123/s/eventsource', 's'],
  ['/echo/1/s/jsonp?c=%63allback/1/t/xhr', 's'],
  ['/echo/1/s/jsonp_send', 's'],
  ['/echo/1/s/htmlfile?c=x', 's'],
  ['/echo/1/s/websocket', undefined],
  ['/echo/info', undefined],
  ['/echo/websocket', undefined],
  ['/s/xhr', undefined],
  ['/echo/1//xhr', undefined],
  ['/echo/1/a.b/xhr', undefined],
  ['/echo/a.b/s/xhr', undefined],
  ['/echo/1/s/xhr/more', undefined],
  ['/echo/1/s/XHR', undefined],
  [`/echo/1/${'s'.repeat(65)}/xhr`, undefined],
  ['/', undefined],
  ['*', undefined],
];

for (const [target, session] of TARGETS) {
  test(`${target.slice(0, 40)} ${session === undefined ? 'names no session' : `is session ${session}`}`, () => {
    assert.equal(sockjsSession(block(target)), session);
  });
}

test('a header block that is none names no session', () => {
  for (const text of ['', 'GET', 'GET ', '\r\n', 'GET /echo/1/s/xhr']) {
    assert.equal(sockjsSession(Buffer.from(text)), undefined);
  }
});

test('a request without cookie and session has no wish', () => {
  const settings = settingsFrom('request', { stickySessionsCookieName: 'r' });
  assert.equal(stickyWish(settings, block('/')), undefined);
  assert.deepEqual(stickyWish(settings, block('/', 'Cookie: r=AAAAAAAA\r\n')), { ids: ['AAAAAAAA'] });
  assert.deepEqual(stickyWish(settings, block('/e/1/s/xhr', 'Cookie: r=AAAAAAAA\r\n')), {
    ids: ['AAAAAAAA'],
    session: 's',
  });
  assert.deepEqual(stickyWish(settings, block('/e/1/s/xhr')), { ids: [], session: 's' });
});
