import assert from 'node:assert';
import { test } from 'node:test';
import { WireError } from '../../../core/wire/frames.js';
import { checkHeaderBlock } from '../../../core/wire/header-block.js';

function check(text: string, upgrade = false): void {
  // Bytes in front of the block, as in a frame.
  checkHeaderBlock(Buffer.from(`\r\n\0${text}`, 'latin1'), 3, upgrade);
}

const LINE = 'GET / HTTP/1.1\r\n';

test('a block of one request line and fields passes, bytes beyond ASCII and empty values too', () => {
  check(LINE);
  check(`${LINE}Host: a.test\r\n`);
  check(
    `M-SEARCH * HTTP/1.1\r\nHost: a.test\r\nX-Empty:\r\nX-Space: \r\nX-Tab:\t1\r\nX-High: \xe4\x8d\x8a\r\n`,
  );
  check('GET /\xe4?q=a&b#c HTTP/1.1\r\nHost: a\r\n');
  check(`${LINE}Connection: Upgrade\r\nUpgrade: websocket\r\n`, true);
  check(`${LINE}Contentxlength: 5\r\nX-Connection: close\r\nUpgrades: 1\r\n`);
});

const BAD: readonly string[] = [
  '',
  '\r\n',
  'GET / HTTP/1.1',
  'GET / HTTP/1.1\r',
  'GET / HTTP/1.1\n',
  'GET / HTTP/1.0\r\n',
  'GET / HTTP/2.0\r\n',
  'GET  / HTTP/1.1\r\n',
  'GET HTTP/1.1\r\n',
  'GET /\r\n',
  'GET / x HTTP/1.1\r\n',
  ' / HTTP/1.1\r\n',
  'G T / HTTP/1.1\r\n',
  'GET /\0 HTTP/1.1\r\n',
  'GET /\r\nX: HTTP/1.1\r\n',
  'GET /\x7f HTTP/1.1\r\n',
  `${LINE}\r\n`,
  `${LINE}\r\nGET /smuggled HTTP/1.1\r\n`,
  `${LINE}Host: a\r\n\r\n`,
  `${LINE}Host: a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n`,
  `${LINE}Host: a`,
  `${LINE}Host: a\n`,
  `${LINE}Host: a\r`,
  `${LINE}Host: a\nX: b\r\n`,
  `${LINE}Host: a\rX: b\r\n`,
  `${LINE}Host: a\0b\r\n`,
  `${LINE}Host: a\x01b\r\n`,
  `${LINE}Host: a\x7fb\r\n`,
  `${LINE}Host : a\r\n`,
  `${LINE} folded\r\n`,
  `${LINE}Host: a\r\n folded\r\n`,
  `${LINE}: empty\r\n`,
  `${LINE}nonsense\r\n`,
  `${LINE}H\xe4: a\r\n`,
  `${LINE}Content-Length: 5\r\n`,
  `${LINE}cONTENT-lENGTH: 5\r\n`,
  `${LINE}Transfer-Encoding: chunked\r\n`,
  `${LINE}transfer-encoding:chunked\r\n`,
  `${LINE}Connection: close\r\n`,
  `${LINE}Upgrade: h2c\r\n`,
];

test('a block that is not exactly one request without framing is refused', () => {
  for (const text of BAD) assert.throws(() => check(text), WireError, JSON.stringify(text));
  for (const name of ['Content-Length: 5', 'Transfer-Encoding: chunked'])
    assert.throws(() => check(`${LINE}${name}\r\n`, true), WireError, `${name} with an upgrade`);
});

test('a byte that is no text is found wherever it stands', () => {
  const text = `${LINE}Host: a.test\r\nX-Forwarded-For: 127.0.0.1\r\n`;
  for (let at = 0; at < text.length; at += 1) {
    for (const bad of ['\0', '\n', '\r', '\x1f', '\x7f']) {
      if (text[at] === bad) continue;
      const spoilt = text.slice(0, at) + bad + text.slice(at + 1);
      assert.throws(() => check(spoilt), WireError, JSON.stringify(spoilt));
    }
  }
});
