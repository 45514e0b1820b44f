/**
 * The battery of bad requests, the part about request lines and fields (R5 to R15): the bytes, and what Apache in its two
 * modes and we make of them. Rows that Apache decides only assert that it stays so.
 */
import { CLOSE, HOST, X, dropped, get, line, refused, replaced, type Row } from './hostile-row.js';

export const FIELDS: readonly Row[] = [
  {
    name: 'R5 obs-fold becomes one space',
    bytes: get('X-A: one\r\n two\r\n\tthree\r\n'),
    answers: '200',
    reached: [{ ...X, has: { 'x-a': 'one two three' } }],
  },
  {
    name: 'R5 a forwarding field cannot hide in a fold',
    bytes: get('X-A: one\r\n X-Forwarded-Proto: https\r\n'),
    answers: '200',
    reached: [{ ...X, has: { 'x-forwarded-proto': 'http' } }],
  },
  refused('R6 bare CR in a value', get('X-A: a\rX-Forwarded-Proto: https\r\n')),
  refused('R6 NUL in a value', get('X-A: a\0b\r\n'), '400'),
  ...[
    ['control in a value', 'X-A: a\x01b'],
    ['delete in a value', 'X-A: a\x7fb'],
    ['control in a name', 'X-\x01A: b'],
  ].map(([what = '', field = '']) =>
    refused(`R6 ${what}`, get(`${field}\r\nX-Kept: 1\r\n`), '400', {
      unsafe: '200',
      reachedUnsafe: [{ ...X, has: { 'x-a': undefined, 'x-kept': '1' } }],
    }),
  ),
  refused('R6 control in the forwarding field', get('X-Forwarded-For: 1.1.1.1\x01\r\n'), '400', {
    unsafe: '200',
    reachedUnsafe: [{ ...X, has: { 'x-forwarded-for': '127.0.0.1' } }],
  }),
  refused('R6 space before the colon', get('X-A : b\r\n')),
  refused('R6 space in a name', get('X A: b\r\n')),
  refused('R6 empty name', get(': b\r\n')),
  refused('R6 no colon', get('nonsense\r\n'), '400'),
  refused('R6 bare LF', `GET /x HTTP/1.1\n${HOST}${CLOSE}\r\n`, '400', { unsafe: '200', reachedUnsafe: [X] }),
  {
    name: 'R6 bytes beyond ASCII in a value are kept',
    bytes: get('X-A: \xe4\x8d\x8a\x85\r\n'),
    answers: '200',
    reached: [{ ...X, has: { 'x-a': '\xe4\x8d\x8a\x85' } }],
  },
  ...['!~Passenger-App-Root: /', '!~: x', '!~REQUEST_METHOD: PUT', '_: x', 'X~Y: 1', "X'Y: 1"].map((field) =>
    dropped(`${field}`, field.slice(0, field.indexOf(':'))),
  ),
  ...[
    'X_Forwarded_For: 6.6.6.6',
    'X_Forwarded_Proto: https',
    'X-Forwarded_Proto: https',
    'X_Forwarded_Host: evil.test',
    'X_Forwarded_Port: 1',
    'X_Forwarded_User: root',
    'Content_Length: 5',
    'Transfer_Encoding: chunked',
    'Remote_User: root',
    'X_Real_IP: 6.6.6.6',
    'X.Forwarded.For: 6.6.6.6',
    'Connection_: close',
    'Hos_t: evil.test',
  ].map((field) => dropped(field, field.slice(0, field.indexOf(':')))),
  ...[
    'Forwarded: for=6.6.6.6;proto=https',
    'X-Forwarded-User: root',
    'Remote-User: root',
    'Proxy: http://evil.test/',
    'Proxy-Authorization: Basic eDp5',
    'Proxy-Connection: keep-alive',
    'Keep-Alive: timeout=1',
    'TE: trailers',
    'Trailer: X-T',
    'Upgrade: h2c',
  ].map((field) => dropped(field, field.slice(0, field.indexOf(':')))),
  replaced('X-Forwarded-For: 6.6.6.6', 'x-forwarded-for', '6.6.6.6, 127.0.0.1'),
  replaced(
    'X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2',
    'x-forwarded-for',
    '1.1.1.1, 2.2.2.2, 127.0.0.1',
  ),
  replaced('X-Forwarded-Proto: https', 'x-forwarded-proto', 'http'),
  replaced('x-forwarded-PROTO: https', 'x-forwarded-proto', 'http'),
  replaced('X-Forwarded-Host: evil.test', 'x-forwarded-host', 'a.test'),
  replaced('X-Forwarded-Port: 1', 'x-forwarded-port', '80'),
  replaced('X-Real-IP: 6.6.6.6', 'x-real-ip', '127.0.0.1'),
  replaced('x-real-ip: 6.6.6.6\r\nX-Real-IP: 7.7.7.7', 'x-real-ip', '127.0.0.1'),
  ...[
    ['X-Forwarded-For', 'x-forwarded-for', '127.0.0.1'],
    ['X-Forwarded-Proto', 'x-forwarded-proto', 'http'],
    ['X-Forwarded-Host', 'x-forwarded-host', 'a.test'],
    ['Host', 'host', 'a.test'],
  ].map(([named = '', name = '', ours = '']): Row => ({
    name: `R11 Connection: close, ${named} does not remove ours`,
    bytes: `GET /x HTTP/1.1\r\n${HOST}Connection: close, ${named}\r\n\r\n`,
    answers: '200',
    reached: [{ ...X, has: { [name]: ours } }],
  })),
  {
    name: 'R11 fields named by Connection go, but never credentials and cookies',
    bytes: `GET /x HTTP/1.1\r\n${HOST}Connection: close, X-Mine, Cookie, Authorization\r\nX-Mine: 1\r\nCookie: a=b\r\nAuthorization: Basic eDp5\r\n\r\n`,
    answers: '200',
    reached: [{ ...X, has: { 'x-mine': undefined, cookie: 'a=b', authorization: 'Basic eDp5' } }],
  },
];

function target(path: string, more: Partial<Row> = {}): Row {
  const reached = { line: `GET ${path} HTTP/1.1` };
  return {
    name: `R14 target ${path.slice(0, 40)}`,
    bytes: line(reached.line),
    answers: '200',
    reached: [reached],
    ...more,
  };
}

export const LINES: readonly Row[] = [
  refused('R12 no Host', line('GET /x HTTP/1.1', CLOSE)),
  refused('R12 two Hosts', line('GET /x HTTP/1.1', `${HOST}Host: b.test\r\n${CLOSE}`), '400', {
    unsafe: '404',
  }),
  refused('R12 Host with a path', line('GET /x HTTP/1.1', `Host: a.test/../b\r\n${CLOSE}`)),
  refused('R12 Host with a space', line('GET /x HTTP/1.1', `Host: a.test evil.test\r\n${CLOSE}`), '400', {
    unsafe: '404',
  }),
  {
    name: 'R12 absolute-form: the URI decides, the field is replaced',
    bytes: line('GET http://a.test/x HTTP/1.1', `Host: evil.test\r\n${CLOSE}`),
    answers: '200',
    reached: [{ ...X, has: { host: 'a.test', 'x-forwarded-host': 'a.test' } }],
  },
  {
    name: 'R12 absolute-form without a path',
    bytes: line('GET http://a.test?q=1 HTTP/1.1'),
    answers: '200',
    reached: [{ line: 'GET /?q=1 HTTP/1.1' }],
  },
  {
    name: 'R12 trailing dot and port stay as the client wrote them',
    bytes: line('GET /x HTTP/1.1', `Host: a.test.:99\r\n${CLOSE}`),
    answers: '200',
    reached: [{ ...X, has: { host: 'a.test.:99' } }],
  },
  refused('R13 OPTIONS *', line('OPTIONS * HTTP/1.1'), /^(200|405)$/),
  refused('R13 CONNECT', line('CONNECT a.test:80 HTTP/1.1'), /^(400|405)$/),
  refused('R13 CONNECT with a path', line('CONNECT /x HTTP/1.1'), /^(400|405)$/),
  refused('R13 TRACE is Apache’s', line('TRACE /x HTTP/1.1'), '200'),
  ...['FOO', 'get', 'Get', 'PROPFIND', 'QUERY', 'M-SEARCH'].map((method): Row => ({
    name: `R13 method ${method} is the app’s to refuse`,
    bytes: line(`${method} /x HTTP/1.1`),
    answers: '200',
    reached: [{ line: `${method} /x HTTP/1.1` }],
  })),
  refused('R13 control in the method', line('G\x01T /x HTTP/1.1')),
  refused('R13 CR in the method', line('GET\rX /x HTTP/1.1')),
  target("/a;b%3Bc,d=e@f:g!$&'()*+~"),
  target('/%7Ename/%41'),
  target('//double//slash'),
  target('/%C3%A9/%ff'),
  target('/x?a=%00&b=%2F%0d%0a&c=?d'),
  target('/x??'),
  target('/x%0d%0aX-Evil:%201'),
  refused('R14 %00', line('GET /a%00b HTTP/1.1'), /^(400|404)$/),
  refused('R14 %2F', line('GET /a%2Fb HTTP/1.1'), '404'),
  refused('R14 broken escape', line('GET /a%zz HTTP/1.1'), '400'),
  refused('R14 above the root', line('GET /../x HTTP/1.1')),
  // What Apache decided by is what the app must see, or rules for one place could be passed in the name of another.
  ...[
    ['/a/../x/%2e%2e/y/./z', '/y/z'],
    ['/admin/../open', '/open'],
    ['/admin/%2E./open?q=/../', '/open?q=/../'],
    ['/admin/.%2e', '/'],
    ['/admin/..;/open', '/admin/..;/open'],
    ['/a/...', '/a/...'],
    ['/a/.b/..c', '/a/.b/..c'],
  ].map(([path = '', seen = '']): Row => ({
    name: `R14 dots ${path}`,
    bytes: line(`GET ${path} HTTP/1.1`),
    answers: '200',
    reached: [{ line: `GET ${seen} HTTP/1.1` }],
  })),
  refused('R14 fragment', line('GET /x#fragment HTTP/1.1'), '400', { unsafe: '200', reachedUnsafe: [X] }),
  refused('R14 raw space', line('GET /x y HTTP/1.1')),
  refused('R14 raw control', line('GET /x\x01y HTTP/1.1')),
  refused('R14 raw CR', line('GET /x\ry HTTP/1.1')),
  target('/\xe4\x8d\x8a'),
  refused('R15 101 fields', get(Array.from({ length: 101 }, (_, n) => `X-${n}: 1\r\n`).join('')), '400'),
  refused('R15 field of 9 KB', get(`X-A: ${'a'.repeat(9000)}\r\n`), '400'),
  refused(
    'R15 300 KB of fields',
    get(Array.from({ length: 40 }, (_, n) => `X-${n}: ${'a'.repeat(7500)}\r\n`).join('')),
    '431',
  ),
  refused('R15 line of 9 KB', line(`GET /${'a'.repeat(9000)} HTTP/1.1`), '414'),
  {
    name: 'R15 98 fields pass in order',
    bytes: get(Array.from({ length: 96 }, (_, n) => `X-${n}: ${n}\r\n`).join('')),
    answers: '200',
    reached: [{ ...X, has: { 'x-0': '0', 'x-95': '95' } }],
  },
];
