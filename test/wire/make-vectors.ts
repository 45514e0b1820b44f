/**
 * Makes test/wire/vectors.txt, the bytes that both ends of the wire protocol decode in their tests: one frame or
 * stream a line, name TAB hex. Run it with `node --import tsx test/wire/make-vectors.ts`; a unit test checks that
 * the file is current.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  ACCEPTED_FRAME,
  END_FRAME,
  encodeFrame,
  encodeHello,
  encodeRefusal,
  encodeRequest,
} from '../../core/wire/encoder.js';
import { DATA_FLAG_FLUSH, FRAME, REQUEST_FLAG } from '../../core/wire/frames.js';
import { encodeHead, fieldText } from '../../core/wire/head-frame.js';

export const VECTORS_FILE = join(__dirname, 'vectors.txt');

function entry(tag: number, flags: number, id: number, text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  const head = Buffer.alloc(8);
  head.writeUInt8(tag, 0);
  head.writeUInt8(flags, 1);
  head.writeUInt16BE(id, 2);
  head.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([head, bytes]);
}

function fields(...pairs: [string, string][]): { count: number; fields: string } {
  return { count: pairs.length, fields: pairs.map(([name, value]) => fieldText(name, value)).join('') };
}

const SECRET = Buffer.from(Array.from({ length: 32 }, (_, n) => n));
const SETTINGS = Buffer.concat([
  entry(2, 1, 0, 'GREETING=hello'),
  entry(3, 0, 0, '/srv/app'),
  entry(4, 0, 0, '/'),
  entry(5, 0, 0, '/srv/app/public'),
  entry(6, 0, 0, 'node'),
  entry(7, 0, 0, 'app.js'),
  entry(8, 0, 0, 'example.test'),
]);
const GET = Buffer.from('GET / HTTP/1.1\r\nHost: example.test\r\n', 'latin1');
const POST = Buffer.from(
  'POST /form HTTP/1.1\r\nHost: example.test\r\nContent-Type: text/plain\r\n',
  'latin1',
);
const UPGRADE = Buffer.from(
  'GET /chat HTTP/1.1\r\nHost: example.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n',
  'latin1',
);

function frames(): [name: string, bytes: Buffer][] {
  const hello = encodeHello({ generation: 7, tableHash: '0123456789abcdef', secret: SECRET });
  const id = 0x0000_1234_0000_0001n;
  const get = encodeRequest({
    flags: REQUEST_FLAG.NO_BODY | REQUEST_FLAG.REPLAYABLE,
    exchangeId: id,
    silenceMs: 60_000,
    settings: SETTINGS,
    headerBlock: GET,
  });
  const getCached = encodeRequest({
    flags: REQUEST_FLAG.NO_BODY | REQUEST_FLAG.REPLAYABLE | REQUEST_FLAG.SETTINGS_CACHED | REQUEST_FLAG.TLS,
    exchangeId: id + 1n,
    silenceMs: 60_000,
    settings: SETTINGS,
    cached: true,
    headerBlock: GET,
  });
  const head = encodeHead({
    status: 200,
    reason: 'OK',
    ...fields(['Content-Type', 'text/plain'], ['Content-Length', '12'], ['Status', '200 OK']),
  });
  const data = encodeFrame(FRAME.DATA, 0, Buffer.from('hello, world'));
  return [
    ['hello', hello],
    ['request-get', get],
    ['request-get-cached', getCached],
    [
      'request-post-length',
      encodeRequest({
        flags: REQUEST_FLAG.LENGTH_KNOWN | REQUEST_FLAG.SETTINGS_CACHED,
        exchangeId: 0xffff_ffff_ffff_fffen,
        contentLength: 5_000_000_000,
        silenceMs: 300_000,
        settings: SETTINGS,
        cached: true,
        headerBlock: POST,
      }),
    ],
    [
      'request-post-chunked',
      encodeRequest({ flags: 0, exchangeId: id + 2n, settings: SETTINGS, headerBlock: POST }),
    ],
    [
      'request-upgrade',
      encodeRequest({
        flags: REQUEST_FLAG.UPGRADE | REQUEST_FLAG.SETTINGS_CACHED,
        exchangeId: id + 3n,
        settings: SETTINGS,
        cached: true,
        headerBlock: UPGRADE,
      }),
    ],
    ['body', encodeFrame(FRAME.BODY, 0, Buffer.from('a=1&b=2'))],
    ['body-end', encodeFrame(FRAME.BODY_END)],
    ['cancel-client-gone', encodeFrame(FRAME.CANCEL, 0, Buffer.from([1]))],
    ['cancel-body-broken', encodeFrame(FRAME.CANCEL, 0, Buffer.from([2]))],
    ['cancel-not-wanted', encodeFrame(FRAME.CANCEL, 0, Buffer.from([3]))],
    ['cancel-timeout', encodeFrame(FRAME.CANCEL, 0, Buffer.from([4]))],
    ['accepted', ACCEPTED_FRAME],
    ['head', head],
    ['head-no-body', encodeHead({ status: 204, reason: '', ...fields() }, { noBody: true })],
    [
      'head-tunnel',
      encodeHead({
        status: 101,
        reason: 'Switching Protocols',
        ...fields(['Connection', 'Upgrade'], ['Upgrade', 'websocket'], ['Sec-WebSocket-Accept', 'x3JJ=']),
      }),
    ],
    [
      'interim-103',
      encodeHead(
        { status: 103, reason: 'Early Hints', ...fields(['Link', '</a.css>; rel=preload']) },
        { interim: true },
      ),
    ],
    ['data', data],
    ['data-flush', encodeFrame(FRAME.DATA, DATA_FLAG_FLUSH, Buffer.from([0, 255, 13, 10]))],
    ['end', END_FRAME],
    ['abort', encodeRefusal(FRAME.ABORT, 502, 'PSG4003')],
    ['reject', encodeRefusal(FRAME.REJECT, 503, 'PSG3003')],
    ['stream-shim', Buffer.concat([hello, get, getCached])],
    ['stream-core', Buffer.concat([head, data, END_FRAME, head, data, END_FRAME])],
  ];
}

export function vectorsText(): string {
  return frames()
    .map(([name, bytes]) => `${name}\t${bytes.toString('hex')}\n`)
    .join('');
}

if (require.main === module) writeFileSync(VECTORS_FILE, vectorsText());
