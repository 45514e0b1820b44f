/**
 * The battery of bad requests, the part about bodies and connections (R1 to R4, R16 to R21): who believes in which length,
 * and whether anything of one request can become another.
 */
import {
  CLOSE,
  HOST,
  POSTED,
  SMUGGLED,
  X,
  chunked,
  get,
  line,
  post,
  refused,
  type Reached,
  type Row,
} from './hostile-row.js';

/** Of two requests of which the second is honest. */
const SECOND = `GET /second HTTP/1.1\r\n${HOST}${CLOSE}\r\n`;
const BOTH: readonly Reached[] = [{ ...POSTED, body: '' }, { line: 'GET /second HTTP/1.1' }];
const HIDDEN = 'GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n';

export const FRAMING: readonly Row[] = [
  {
    name: 'R1 CL.TE: chunked wins, the connection ends',
    bytes: post('Content-Length: 6\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${SMUGGLED}`),
    answers: '200',
    reached: [{ ...POSTED, body: '' }],
  },
  {
    name: 'R1 TE.CL: chunked wins, the connection ends',
    bytes: post(
      'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n',
      `${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`,
    ),
    answers: '200',
    reached: [{ ...POSTED, body: HIDDEN }],
  },
  ...[
    ['identity after chunked', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n'],
    ['chunked, identity', 'Transfer-Encoding: chunked, identity\r\n'],
    ['xchunked', 'Transfer-Encoding: xchunked\r\n'],
    ['vertical tab', 'Transfer-Encoding: \x0bchunked\r\n'],
    ['space before the colon', 'Transfer-Encoding : chunked\r\n'],
  ].map(([what = '', fields = '']) =>
    refused(`R2 TE.TE ${what}`, post(fields, `0\r\n\r\n${SMUGGLED}`), /^(400|501)$/),
  ),
  // Apache 2.4.71 takes these as chunked, as chunked is last; what the app gets has a framing of our own.
  ...[
    ['identity before chunked', 'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n'],
    ['chunked twice', 'Transfer-Encoding: chunked,chunked\r\n'],
    ['gzip, chunked', 'Transfer-Encoding: gzip, chunked\r\n'],
    ['empty element', 'Transfer-Encoding: ,chunked\r\n'],
    ['folded', 'Transfer-Encoding:\r\n chunked\r\n'],
  ].map(([what = '', fields = '']): Row => ({
    name: `R2 TE.TE ${what}`,
    bytes: post(fields, `0\r\n\r\n${SECOND}`),
    answers: '200 200',
    reached: BOTH,
  })),
  {
    name: 'R3 two equal lengths',
    bytes: post(`Content-Length: 2\r\nContent-Length: 2\r\n`, `ab${SMUGGLED}`),
    answers: '400',
  },
  ...[
    ['two different', 'Content-Length: 5\r\nContent-Length: 6\r\n'],
    ['list', 'Content-Length: 2, 2\r\n'],
    ['plus', 'Content-Length: +2\r\n'],
    ['hexadecimal', 'Content-Length: 0x2\r\n'],
    ['empty', 'Content-Length: \r\n'],
    ['negative', 'Content-Length: -1\r\n'],
    ['twenty digits', 'Content-Length: 99999999999999999999\r\n'],
    ['junk', 'Content-Length: 2abc\r\n'],
  ].map(([what = '', fields = '']) => refused(`R3 length ${what}`, post(fields, `ab${SMUGGLED}`))),
  ...[
    ['0x1', '0x1\r\na\r\n0\r\n\r\n'],
    ['sixteen digits and more', 'ffffffffffffffff1\r\na\r\n0\r\n\r\n'],
    ['-5', '-5\r\nhello\r\n0\r\n\r\n'],
    ['zz', 'zz\r\n\r\n'],
    ['extension of 9 KB', `1;${'x'.repeat(9000)}\r\na\r\n0\r\n\r\n`],
    ['no CRLF behind the data', '1\r\nabc\r\n0\r\n\r\n'],
  ].map(([what = '', body = '']) =>
    refused(`R4 chunk size ${what}: one page`, chunked(body + SMUGGLED), /^(400|413)$/),
  ),
  {
    name: 'R4 broken chunk after a good one: one page',
    bytes: chunked('5\r\nhello\r\n'),
    pieces: ['zz\r\n', SMUGGLED],
    answers: '400',
  },
  {
    name: 'R4 bare LF in chunk framing',
    bytes: chunked('1\na\n0\n\n'),
    answers: '400',
    unsafe: '200',
    reachedUnsafe: [{ ...POSTED, body: 'a' }],
  },
  {
    name: 'R4 final CRLF missing',
    bytes: chunked('1\r\na\r\n0\r\n'),
    answers: /^(400|408)?$/,
  },
  {
    name: 'R4 extensions are not the body',
    bytes: chunked('1;a=b\r\na\r\n0;c\r\n\r\n', CLOSE),
    answers: '200',
    reached: [{ ...POSTED, body: 'a' }],
  },
];

export const BODIES: readonly Row[] = [
  refused('R16 other expectation', post(`Expect: magic\r\n${CLOSE}Content-Length: 1\r\n`, 'a'), '417'),
  {
    name: 'R16 100-continue with the body at once',
    bytes: post(`Expect: 100-continue\r\n${CLOSE}Content-Length: 1\r\n`, 'a'),
    answers: '200',
    reached: [{ ...POSTED, body: 'a', has: { expect: undefined } }],
  },
  {
    name: 'R16 100-continue with the body later',
    bytes: post(`Expect: 100-continue\r\n${CLOSE}Content-Length: 1\r\n`),
    pieces: ['a'],
    answers: '200',
    reached: [{ ...POSTED, body: 'a' }],
  },
  {
    name: 'R17 trailers are never merged into the head',
    bytes: chunked('1\r\na\r\n0\r\nX-Forwarded-Proto: https\r\nX-T: 1\r\nContent-Length: 5\r\n\r\n', CLOSE),
    answers: '200',
    reached: [{ ...POSTED, body: 'a', has: { 'x-t': undefined, 'x-forwarded-proto': 'http' } }],
  },
  ...['GET', 'DELETE', 'OPTIONS', 'HEAD'].map((method): Row => ({
    name: `R18 ${method} with a body`,
    bytes: `${method} /x HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nhello${SECOND}`,
    methods: [method],
    answers: '200 200',
    reached: [{ line: `${method} /x HTTP/1.1`, body: 'hello' }, { line: 'GET /second HTTP/1.1' }],
  })),
  {
    name: 'R18 chunked GET',
    bytes: get('Transfer-Encoding: chunked\r\n') + '5\r\nhello\r\n0\r\n\r\n',
    answers: '200',
    reached: [{ ...X, body: 'hello' }],
  },
  {
    name: 'R19 upgrade that the app does not take: no tunnel, what came early is a request like any other',
    bytes: `GET /x HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n\r\n${SECOND}`,
    answers: '200 200',
    reached: [
      { ...X, body: '', has: { upgrade: 'websocket', connection: 'Upgrade' } },
      { line: 'GET /second HTTP/1.1' },
    ],
  },
  {
    name: 'R19 upgrade with a body is none',
    bytes: post(`Connection: Upgrade, close\r\nUpgrade: websocket\r\nContent-Length: 1\r\n`, 'a'),
    answers: '200',
    reached: [{ ...POSTED, body: 'a', has: { upgrade: undefined, connection: undefined } }],
  },
  {
    name: 'R19 upgrade to anything else is none',
    bytes: `GET /x HTTP/1.1\r\n${HOST}Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n`,
    answers: '200',
    reached: [{ ...X, has: { upgrade: undefined, connection: undefined, 'http2-settings': undefined } }],
  },
];

export const CONNECTIONS: readonly Row[] = [
  {
    name: 'R20 a hundred in one write',
    bytes:
      Array.from({ length: 99 }, (_, n) => `GET /p${n} HTTP/1.1\r\n${HOST}\r\n`).join('') +
      line('GET /p99 HTTP/1.1'),
    answers: Array<string>(100).fill('200').join(' '),
    reached: Array.from({ length: 100 }, (_, n) => ({ line: `GET /p${n} HTTP/1.1` })),
  },
  {
    name: 'R20 garbage behind a request',
    bytes: `GET /x HTTP/1.1\r\n${HOST}\r\n\x01\x02garbage\r\n\r\n`,
    answers: '200 400',
    reached: [X],
  },
  {
    name: 'R20 empty line before a request',
    bytes: `\r\n${get('')}`,
    answers: '200',
    reached: [X],
  },
  {
    name: 'R21 HTTP/1.0 without Host',
    bytes: `GET /x HTTP/1.0\r\n\r\n`,
    answers: '404',
  },
  {
    name: 'R21 HTTP/1.0 speaks to the app in 1.1',
    bytes: `GET /x HTTP/1.0\r\n${HOST}\r\n`,
    answers: '200',
    reached: [X],
  },
  refused('R21 preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', /^(400|405|505)$/),
  // Apache 2.4.71 answers these; the app hears 1.1 in every case.
  ...['2.0', '1.2'].map((version): Row => ({
    name: `R21 HTTP/${version}`,
    bytes: line(`GET /x HTTP/${version}`),
    answers: '200',
    reached: [X],
  })),
  refused('R21 TLS on the plain port', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'),
];
