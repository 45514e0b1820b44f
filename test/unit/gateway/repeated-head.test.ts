/** Heads that come again are taken from memory: nothing but time may tell them from heads that are read. */
import assert from 'node:assert';
import { test } from 'node:test';
import { responseHead, type HeadRules } from '../../../core/gateway/headers.js';
import { ResponseError } from '../../../core/gateway/response-error.js';
import type { RawHead } from '../../../core/gateway/response-head.js';
import { ResponseParser } from '../../../core/gateway/response-parser.js';

const PLAIN: HeadRules = {
  headMethod: false,
  upgradeAsked: false,
  poweredBy: 'Passenger TS',
  stickyCookie: undefined,
};

function head(fields: string, status = '200 OK'): string {
  return `HTTP/1.1 ${status}\r\n${fields}\r\n`;
}

/** Reads `text` at an offset, as it lies in a room; returns the raw head and the position behind it. */
function read(text: string, parser = new ResponseParser()): { raw: RawHead | undefined; behind: number } {
  const bytes = Buffer.concat([Buffer.alloc(8, 'z'), Buffer.from(text, 'latin1'), Buffer.alloc(8, 'z')]);
  const behind = parser.readHead(bytes, 8, bytes.length - 8) - 8;
  return { raw: parser.head, behind };
}

test('a head that comes again is the same, also with another body of the same length behind it', () => {
  const text = head('Content-Type: text/plain\r\nContent-Length: 5\r\n');
  const first = read(`${text}hello`);
  const second = read(`${text}world`);
  assert.ok(first.raw !== undefined);
  assert.strictEqual(second.raw, first.raw);
  assert.strictEqual(second.behind, text.length);
  assert.strictEqual(responseHead(first.raw, PLAIN), responseHead(first.raw, PLAIN));
});

test('heads that differ in one byte are told apart, wherever it is', () => {
  const text = head('Content-Length: 2\r\nX-Some: value\r\n');
  read(`${text}ok`);
  for (let at = 0; at < text.length; at += 1) {
    const other = `${text.slice(0, at)}\x01${text.slice(at + 1)}ok`;
    assert.throws(() => read(other), ResponseError, `byte ${at}`);
  }
  const { raw } = read(`${text.replace('value', 'other')}ok`);
  assert.deepStrictEqual(raw?.headers, ['Content-Length', '2', 'X-Some', 'other']);
});

test('a head that goes on where a known one ends is read as a whole', () => {
  const known = head('Content-Length: 2\r\n');
  const { behind } = read(`${known}ab`);
  assert.strictEqual(behind, known.length);
  const longer = head('Content-Length: 2\r\nX: y\r\n');
  assert.strictEqual(read(`${longer}ab`).behind, longer.length);
});

test('a head in pieces is not compared with known ones', () => {
  const text = head('Content-Length: 2\r\nX-Piece: 1\r\n');
  read(`${text}ok`);
  const parser = new ResponseParser();
  assert.strictEqual(read('HTTP/1.1 200 OK\r\nX-First: 1\r\n', parser).raw, undefined);
  assert.throws(() => read(`${text}ok`, parser), ResponseError);
});

test('what a request asks for in particular is not taken from memory and not put there', () => {
  const { raw } = read(`${head('Content-Length: 2\r\n')}ok`);
  assert.ok(raw !== undefined);
  const plain = responseHead(raw, PLAIN);
  assert.strictEqual(responseHead(raw, { ...PLAIN, headMethod: true }).framing, 'none');
  assert.match(responseHead(raw, { ...PLAIN, stickyCookie: 'route=1' }).text, /Set-Cookie.*route=1/s);
  assert.strictEqual(responseHead(raw, PLAIN), plain);
  assert.match(responseHead(raw, { ...PLAIN, poweredBy: 'Other' }).text, /X-Powered-ByOther/);
  assert.deepStrictEqual(responseHead(raw, PLAIN), plain);
});

test('a route goes out with final answers and the 101 of a tunnel, beside the cookies of the app', () => {
  const rules = { ...PLAIN, upgradeAsked: true, stickyCookie: 'route=1' };
  const cookies = (text: string): string[] => {
    const { raw } = read(text);
    assert.ok(raw !== undefined);
    return [...responseHead(raw, rules).fields.matchAll(/Set-Cookie(\w+=\w+)/g)].map(
      ([, value = '']) => value,
    );
  };
  const ok = (fields: string): string => `${head(`${fields}Content-Length: 2\r\n`)}ok`;
  assert.deepStrictEqual(cookies(ok('')), ['route=1']);
  assert.deepStrictEqual(cookies(ok('Set-Cookie: a=1\r\nSet-Cookie: route=x\r\n')), [
    'a=1',
    'route=x',
    'route=1',
  ]);
  assert.deepStrictEqual(cookies(head('', '304 Not Modified')), ['route=1']);
  assert.deepStrictEqual(cookies(head('Upgrade: x\r\nConnection: Upgrade\r\n', '101 Switching')), [
    'route=1',
  ]);
  assert.deepStrictEqual(cookies(head('Link: x\r\n', '103 Early Hints')), []);
  assert.deepStrictEqual(cookies(ok('Cache-Control: max-age=60\r\n')), ['route=1']);
  assert.deepStrictEqual(cookies(ok('Cache-Control: public\r\ncache-control: max-age=60\r\n')), []);
});

test('a head that is refused is refused each time', () => {
  const { raw } = read(`${head('Content-Length: 2\r\nContent-Length: 2\r\n')}ok`);
  for (let time = 0; time < 3; time += 1) {
    assert.ok(raw !== undefined);
    assert.throws(() => responseHead(raw, PLAIN), ResponseError);
  }
});
