/** The rules at the head of books.ts, with one thread and with several. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { GroupBook, ProcessBook } from '../../../core/pool/books.js';
import { tsWorker } from '../../support/ts-worker.js';

function process(concurrency: number, group = new GroupBook()): ProcessBook {
  const book = new ProcessBook(group);
  book.begin(concurrency);
  return book;
}

test('no more sessions are taken than the limit allows, and any number without one', () => {
  const limited = process(2);
  assert.deepEqual([limited.take(1), limited.take(1), limited.take(1)], [true, true, false]);
  limited.giveBack(2);
  assert.equal(limited.take(3), true);
  const unlimited = process(0);
  for (let count = 0; count < 1000; count += 1) assert.equal(unlimited.take(1), true);
  assert.equal(unlimited.sessions, 1000);
});

test('a closed process gives no session; those that it has are given back, and the last one is news', () => {
  const book = process(0);
  book.take(1);
  book.take(1);
  book.close();
  assert.deepEqual([book.take(2), book.sessions, book.closed], [false, 2, true]);
  assert.deepEqual([book.giveBack(3), book.giveBack(4)], [false, true]);
  assert.deepEqual([book.sessions, book.processed, book.lastUsed], [0, 2, 4]);
});

test('closing a session is news only when somebody waits for it', () => {
  const group = new GroupBook();
  const book = process(0, group);
  const close = (): boolean => {
    book.take(1);
    return book.giveBack(2);
  };
  assert.equal(close(), false);
  group.waiting = 1;
  assert.equal(close(), true, 'a request of this group');
  group.waiting = 0;
  book.idleWanted = true;
  assert.equal(close(), true, 'another group that wants an idle process');
  book.take(1);
  assert.equal(close(), false, 'which this one is not');
});

test('a session is given back once', () => {
  assert.throws(() => process(1).giveBack(1), /closed once/);
});

test('who was used least recently has the smallest turn, also when the counter of turns wraps around', () => {
  const group = new GroupBook();
  const [a, b] = [process(0, group), process(0, group)];
  new Int32Array(group.memory)[2] = 2 ** 31 - 2;
  a.take(1);
  b.take(1);
  assert.ok(a.turn < b.turn);
  a.take(1);
  assert.ok(b.turn < a.turn);
});

test('the count of sessions that were closed goes on beyond 32 bits', () => {
  const book = process(0);
  new Int32Array(book.memory)[3] = -1;
  assert.equal(book.processed, 2 ** 32 - 1);
  book.take(1);
  book.giveBack(1);
  assert.equal(book.processed, 2 ** 32);
});

test('a book opened in the same memory is the same book', () => {
  const group = new GroupBook();
  const book = process(1, group);
  const other = new ProcessBook(new GroupBook(group.memory), book.memory);
  assert.equal(other.take(7), true);
  assert.deepEqual([book.sessions, book.take(8), book.lastUsed, book.turn], [1, false, 7, 0]);
});

/** What each thread of the hammer has done. */
interface Hammered {
  readonly taken: number;
  readonly mostAtOnce: number;
  readonly takenAfterClose: number;
  readonly news: number;
}

test('threads that hammer the same books keep the limit, lose no session and take none after the close', async () => {
  const LIMIT = 3;
  const group = new GroupBook();
  const books = [process(LIMIT, group), process(LIMIT, group)];
  // [sessions open now of each process, as the threads count them themselves; closed]
  const control = new SharedArrayBuffer(16);
  const words = new Int32Array(control);
  const threads = [0, 1].map(() =>
    tsWorker(join(__dirname, 'hammer-thread.ts'), {
      group: group.memory,
      books: books.map(({ memory }) => memory),
      control,
    }),
  );
  const results = Promise.all(threads.map(async (worker) => (await once(worker, 'message'))[0] as Hammered));
  // Both are at it before the first book is closed.
  const begun = performance.now();
  while (books.some((book) => book.processed < 50_000) && performance.now() - begun < 20_000) {
    await new Promise((turn) => setImmediate(turn));
  }
  for (const book of books) book.close();
  Atomics.store(words, 3, 1);
  const hammered = await results;
  let processed = 0;
  for (const book of books) {
    assert.equal(book.sessions, 0, 'each session was given back');
    processed += book.processed;
  }
  assert.equal(
    processed,
    hammered.reduce((sum, { taken }) => sum + taken, 0),
    'none is lost or counted twice',
  );
  assert.ok(processed > 100_000);
  for (const { taken, mostAtOnce, takenAfterClose } of hammered) {
    assert.ok(taken > 0, 'both threads got sessions');
    assert.ok(mostAtOnce <= LIMIT, `${mostAtOnce} at once`);
    assert.equal(takenAfterClose, 0);
  }
  const news = hammered.reduce((sum, thread) => sum + thread.news, 0);
  assert.ok(news <= books.length, 'the end of a process is told once');
});

test('a session whose end makes the count complete is news, and each one after it', () => {
  const book = process(0);
  book.tellAt = 2;
  const close = (): boolean => {
    book.take(1);
    return book.giveBack(2);
  };
  assert.deepEqual([close(), close(), close()], [false, true, true]);
  book.tellAt = 0;
  assert.equal(close(), false);
});
