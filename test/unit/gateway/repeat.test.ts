/** To whom a request may go once more: the rules of repeat.ts alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tries, type Ended, type Unanswered } from '../../../core/gateway/repeat.js';
import { REQUEST_FLAG } from '../../../core/wire/frames.js';

const GET = REQUEST_FLAG.REPLAYABLE | REQUEST_FLAG.NO_BODY;
const POST = 0;
const GET_WITH_BODY = REQUEST_FLAG.REPLAYABLE;

function ended(some: Partial<Ended> = {}): Ended {
  return { error: '', untouched: false, served: 1, parser: { begun: false }, ...some };
}

function request(flags: number, some: Partial<Unanswered> = {}): Unanswered {
  return { flags, repeatable: true, anythingSeen: false, ...some };
}

const RESET = ended({ error: 'ECONNRESET' });
const READ = ended();
const FRESH_RESET = ended({ error: 'ECONNRESET', served: 0 });
const FRESH_READ = ended({ served: 0 });
const CLOSED_BEFORE = ended({ error: 'EPIPE', untouched: true });

const firstTry: [rule: string, end: Ended, of: Unanswered, expected: string][] = [
  [
    'a GET on a kept connection that was closed unread goes to the same process',
    RESET,
    request(GET),
    'again',
  ],
  ['and so does one that was read, as long as the process lives', READ, request(GET), 'again'],
  ['a GET that a new connection was closed on unread goes elsewhere', FRESH_RESET, request(GET), 'elsewhere'],
  ['one that was read on a new connection is over', FRESH_READ, request(GET), 'never'],
  ['a POST is not repeated when any of it may have been read', RESET, request(POST), 'never'],
  ['a POST is when the system has taken nothing of it', CLOSED_BEFORE, request(POST), 'again'],
  [
    'but not when we do not have all of it any more',
    CLOSED_BEFORE,
    request(POST, { repeatable: false }),
    'never',
  ],
  [
    'a GET with a body may have been read in part: not elsewhere',
    FRESH_RESET,
    request(GET_WITH_BODY),
    'never',
  ],
  [
    'nothing is repeated after a byte of an answer',
    ended({ error: 'ECONNRESET', parser: { begun: true } }),
    request(GET),
    'never',
  ],
  ['nor after an interim answer', RESET, request(GET, { anythingSeen: true }), 'never'],
];

for (const [rule, end, of, expected] of firstTry) {
  test(`repeat: ${rule}`, () => assert.equal(new Tries().afterEnd(end, of), expected));
}

test('repeat: a process that has read the request and takes no connection any more was the only one to get it', () => {
  const tries = new Tries();
  assert.equal(tries.afterEnd(READ, request(GET)), 'again');
  assert.deepEqual(tries.afterConnect('ECONNREFUSED', true), { again: false, blame: false });
  assert.equal(tries.deadly, true);
});

test('repeat: a process that has closed unread and takes no connection any more is no reason to give up', () => {
  for (const [end, flags] of [
    [RESET, GET],
    [CLOSED_BEFORE, POST],
  ] as const) {
    const tries = new Tries();
    assert.equal(tries.afterEnd(end, request(flags)), 'again');
    assert.deepEqual(tries.afterConnect('ECONNREFUSED', true), { again: true, blame: true });
    assert.equal(tries.moveOn(), true, 'at once');
  }
});

test('repeat: what was read once goes to no other process, however the second connection ends', () => {
  for (const end of [RESET, READ, FRESH_RESET, FRESH_READ, CLOSED_BEFORE]) {
    const tries = new Tries();
    tries.afterEnd(READ, request(GET));
    assert.equal(tries.afterEnd(end, request(GET)), 'never');
  }
});

test('repeat: processes that close their connections one after the other: four tries, then the client is told', () => {
  const tries = new Tries();
  assert.equal(tries.afterEnd(RESET, request(GET)), 'again');
  for (const atOnce of [true, false, false]) {
    assert.equal(tries.afterEnd(CLOSED_BEFORE, request(GET)), 'elsewhere');
    assert.equal(tries.moveOn(), atOnce);
  }
  assert.equal(tries.afterEnd(RESET, request(GET)), 'never');
});
