'use strict';
// The bytes that this app answers with, by the last part of the path. A string is one write; a list is several with a
// pause between them, so that the first arrives alone. `then` says what becomes of the connection: `keep` (default), `close`
// or `reset`. Latin-1 throughout: one character is one byte.
const head = (fields, status = '200 OK') => `HTTP/1.1 ${status}\r\n${fields}\r\n`;
const CHUNKED = head('Transfer-Encoding: chunked\r\n');
const good = `${head('Content-Length: 2\r\n')}ok`;
const poison = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison';

const field = (line) => ({ bytes: `${head(`${line}\r\nContent-Length: 2\r\n`)}ok` });
const chunks = (text, then = 'keep') => ({ bytes: CHUNKED + text, then });
/** The same, where the head and a first chunk arrive alone. */
const later = (text, then = 'keep') => ({ bytes: [`${CHUNKED}5\r\nhello\r\n`, text], then });

const REFUSED = {
  'B3-nothing': { bytes: '', then: 'close' },
  'B3-reset': { bytes: '', then: 'reset' },
  'B3-half-a-head': { bytes: 'HTTP/1.1 200 OK\r\nContent-', then: 'close' },
  'B3-garbage': { bytes: 'garbage\r\n\r\n' },
  'B3-tls-bytes': { bytes: '\x15\x03\x01\x00\x02\x02\x28' },
  'B3-http-0.9': { bytes: '<html>hello</html>', then: 'close' },
  'B4-length-and-chunked': { bytes: `${head('Content-Length: 2\r\nTransfer-Encoding: chunked\r\n')}0\r\n\r\n` },
  'B4-chunked-and-length': { bytes: `${head('Transfer-Encoding: chunked\r\nContent-Length: 2\r\n')}0\r\n\r\n` },
  'B5-two-lengths': { bytes: `${head('Content-Length: 2\r\nContent-Length: 3\r\n')}ok` },
  'B5-list-of-lengths': { bytes: `${head('Content-Length: 2, 3\r\n')}ok` },
  'B6-two-codings': { bytes: `${head('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n')}0\r\n\r\n` },
  'B6-chunked-twice': { bytes: `${head('Transfer-Encoding: chunked, chunked\r\n')}0\r\n\r\n` },
  'B6-unknown-coding': { bytes: `${head('Transfer-Encoding: gzip, chunked\r\n')}0\r\n\r\n` },
  'B6-xchunked': { bytes: `${head('Transfer-Encoding: xchunked\r\n')}0\r\n\r\n` },
  'B6-vertical-tab': { bytes: `${head('Transfer-Encoding: \x0bchunked\r\n')}0\r\n\r\n` },
  'B6-folded-coding': { bytes: `${head('Transfer-Encoding:\r\n chunked\r\n')}0\r\n\r\n` },
  'B6-chunked-in-1.0': { bytes: 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' },
  'B7-negative': { bytes: `${head('Content-Length: -1\r\n')}ok` },
  'B7-junk': { bytes: `${head('Content-Length: 2abc\r\n')}ok` },
  'B7-plus': { bytes: `${head('Content-Length: +2\r\n')}ok` },
  'B7-hex': { bytes: `${head('Content-Length: 0x2\r\n')}ok` },
  'B7-empty': { bytes: `${head('Content-Length: \r\n')}ok` },
  'B7-twenty-digits': { bytes: `${head('Content-Length: 99999999999999999999\r\n')}ok` },
  'B8-minus-five': chunks('-5\r\nhello\r\n0\r\n\r\n'),
  'B8-zz': chunks('zz\r\n\r\n'),
  'B8-overflow': chunks('ffffffffffffffff1\r\n'),
  'B8-space': chunks('5 \r\nhello\r\n0\r\n\r\n'),
  'B8-0x5': chunks('0x5\r\nhello\r\n0\r\n\r\n'),
  'B8-bare-lf': chunks('5\nhello\n0\n\n'),
  'B8-empty-size': chunks('\r\nhello'),
  'B8-long-extension': chunks(`5;${'x'.repeat(60_000)}\r\nhello\r\n0\r\n\r\n`),
  'B9-nul': field('X-A: a\0b'),
  'B10-control': field('X-A: a\x01b'),
  'B10-delete': field('X-A: a\x7fb'),
  'B11-bare-lf': { bytes: 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok' },
  'B11-bare-cr': field('X-A: a\rSet-Cookie: stolen=1'),
  'B11-lf-in-value': field('X-A: a\nSet-Cookie: stolen=1'),
  'B11-folded': field('X-A: a\r\n Set-Cookie: stolen=1'),
  'B12-99': { bytes: head('Content-Length: 0\r\n', '99 Low') },
  'B12-999999': { bytes: head('Content-Length: 0\r\n', '999999 High') },
  'B12-000': { bytes: head('Content-Length: 0\r\n', '000 Zero') },
  'B12-cr-in-reason': { bytes: head('Content-Length: 0\r\n', '200 O\rK') },
  'B12-http-2': { bytes: 'HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok' },
  'B12-http-1.10': { bytes: 'HTTP/1.10 200 OK\r\nContent-Length: 2\r\n\r\nok' },
  'B12-space-before': { bytes: ` ${good}` },
  'B12-empty-line-before': { bytes: `\r\n${good}` },
  'B13-eleven-interim': { bytes: `${'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(11)}${good}` },
  'B13-interim-in-1.0': { bytes: `HTTP/1.0 103 Early Hints\r\n\r\n${good}` },
  'B14-101': { bytes: `${head('Upgrade: x\r\nConnection: upgrade\r\n', '101 Switching Protocols')}secret tunnel` },
  'B14-101-websocket': {
    bytes: `${head('Upgrade: websocket\r\nConnection: upgrade\r\n', '101 Switching Protocols')}secret tunnel`,
  },
  'B19-200-kb': { bytes: head(`X-A: ${'a'.repeat(200_000)}\r\n`) },
  'B19-3000-fields': { bytes: head('A: b\r\n'.repeat(3000)) },
  'B19-endless-name': { bytes: `HTTP/1.1 200 OK\r\n${'a'.repeat(100_000)}` },
  'name-with-space': field('X A: b'),
  'space-before-colon': field('X-A : b'),
  'empty-name': field(': b'),
  'no-colon': field('nonsense'),
  'name-beyond-ascii': field('X-\xe4: b'),
};

const BROKEN = {
  'B1-chunked-cut': { bytes: [`${CHUNKED}5\r\nhello\r\n`, ''], then: 'close' },
  'B1-chunked-reset': { bytes: [`${CHUNKED}5\r\nhello\r\n`, ''], then: 'reset' },
  'B1-cut-inside-chunk': { bytes: [`${CHUNKED}ff\r\nhello`, ''], then: 'close' },
  'B1-no-final-crlf': { bytes: [`${CHUNKED}5\r\nhello\r\n0\r\n`, ''], then: 'close' },
  'B2-length-cut': { bytes: [`${head('Content-Length: 100\r\n')}0123456789`, ''], then: 'close' },
  'B2-length-reset': { bytes: [`${head('Content-Length: 100\r\n')}0123456789`, ''], then: 'reset' },
  'B8-later-minus-five': later('-5\r\nhello\r\n0\r\n\r\n'),
  'B8-later-zz': later('zz\r\n\r\n'),
  'B8-later-overflow': later('fffffffffffffffff\r\n'),
  'B8-later-poison': later(poison),
  'B8-later-no-crlf-after-chunk': later('3\r\nabcdef\r\n0\r\n\r\n'),
  'B20-endless-trailers': later(`0\r\n${`A: ${'x'.repeat(100)}\r\n`.repeat(500)}`),
  'B20-trailer-without-a-colon': later('0\r\nhello\r\n\r\n'),
  'B20-nul-in-trailer': later('0\r\nA: \0\r\n\r\n'),
};

const cookies = Array.from({ length: 990 }, (_, n) => `Set-Cookie: c${n}=1\r\n`).join('');

const PASSED = {
  'B12-600': { bytes: `${head('Content-Length: 2\r\n', '600 Odd')}ok` },
  'B12-999': { bytes: `${head('Content-Length: 2\r\n', '999 Odd')}ok` },
  'B12-no-reason': { bytes: 'HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok' },
  'B13-103': { bytes: `${head('Link: </a.css>; rel=preload\r\n', '103 Early Hints')}${good}` },
  'B13-103-typed': {
    bytes: `${head('Content-Type: text/x-hint\r\nX-Early: 1\r\n', '103 Early Hints')}${good}`,
  },
  'B13-100': { bytes: `HTTP/1.1 100 Continue\r\n\r\n${good}` },
  'B13-ten': { bytes: `${head('X-Early: 1\r\n', '103 Early Hints').repeat(10)}${good}` },
  'B15-204': { bytes: `${head('Content-Length: 45\r\n', '204 No Content')}${poison}` },
  'B15-304': { bytes: `${head('Content-Length: 45\r\nETag: "x"\r\n', '304 Not Modified')}${poison}` },
  'B15-head': { bytes: `${head('Content-Length: 45\r\n')}${poison}` },
  'B16-poison': { bytes: good + poison },
  'B16-poison-after-chunks': chunks(`2\r\nok\r\n0\r\n\r\n${poison}`),
  'B17-hop-by-hop': {
    bytes: `${head(
      'Connection: keep-alive, X-Secret\r\nKeep-Alive: timeout=99\r\nX-Secret: 1\r\nProxy-Authenticate: Basic\r\n' +
        'Proxy-Connection: close\r\nTE: x\r\nTrailer: T\r\nUpgrade: h2c\r\nX-Kept: 1\r\nContent-Length: 2\r\n',
    )}ok`,
  },
  'B18-internal': field('!~Request-OOB-Work: 1\r\nX-Sendfile: /etc/passwd\r\nX-Accel-Redirect: /file.txt\r\nStatus: 500 No'),
  'B19-cookies': { bytes: `${head(`${cookies}Content-Length: 2\r\n`)}ok` },
  'B19-60-kb': field(`X-A: ${'a'.repeat(60_000)}`),
  'B20-trailers': chunks('2\r\nok\r\n0\r\nX-Trailer: 1\r\nSet-Cookie: stolen=1\r\n\r\n'),
  'B21-until-close': { bytes: 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok', then: 'close' },
  'B21-http-1.0': { bytes: 'HTTP/1.0 200 OK\r\n\r\nok', then: 'close' },
  'splitting-8d8a': field('X-A: a\x8d\x8aSet-Cookie: stolen=1\x8d\x8a'),
  'splitting-utf-8': field('X-A: a\u00c4\u008d\u00c4\u008aSet-Cookie: stolen=1'),
  'empty-value': field('X-A:'),
  'chunk-extensions': chunks('2;a=b;c="d"\r\nok\r\n0;last\r\n\r\n'),
  'chunk-leading-zeros': chunks('0002\r\nok\r\n000\r\n\r\n'),
};

/** Bytes that come when nobody has asked: only harmless where no request is under way on the connection. */
const LATER = { 'B16-poison-later': { bytes: [good, poison] } };

module.exports = { REFUSED, BROKEN, PASSED, ALL: { ...REFUSED, ...BROKEN, ...PASSED, ...LATER } };
