/** Records and messages: what fits exactly is read, everything else refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PassengerError } from '../../../core/base/errors.js';
import {
  decodeBytes,
  decodeMessage,
  encodeMessage,
  FROM_APACHE,
  FROM_CORE,
  TO_CORE,
  type Message,
} from '../../../core/supervisor/messages.js';
import {
  CHANNEL_LIMIT,
  CONTROL_LIMIT,
  decodeRecord,
  encodeRecord,
  RecordAssembler,
} from '../../../core/supervisor/records.js';

const CONFIG: Message<'CONFIG'> = {
  type: 'CONFIG',
  generation: 3,
  secret: Buffer.alloc(32, 1),
  instanceDir: '/run/passenger/passenger.abcdefg',
  passengerRoot: '/opt/passenger',
  coreUid: 33,
  coreGid: 33,
  coreUser: 'www-data',
  serverSoftware: 'Apache/2.4 (Debian)',
  settings: [
    ['PassengerMaxPoolSize', '6'],
    ['PassengerEmpty', ''],
  ],
  privileged: [],
  errorLog: 'fd',
  tableHash: Buffer.alloc(8),
  maxRequestWorkers: 150,
};
const PSG7002 = { code: 'PSG7002' };

test('a message survives the way', () => {
  assert.deepEqual(decodeMessage(decodeRecord(encodeMessage(CONFIG), CONTROL_LIMIT), FROM_APACHE), CONFIG);
  const exited: Message<'EXITED'> = { type: 'EXITED', pid: 7, code: undefined, signal: 'SIGKILL' };
  assert.deepEqual(decodeBytes(encodeMessage(exited), TO_CORE), exited);
  const stat: Message<'STAT_RESULT'> = {
    type: 'STAT_RESULT',
    requestId: 4_294_967_295,
    exists: 1,
    mtimeNs: 1_700_000_000_123_456_789n,
    inode: 2n ** 64n - 1n,
    errno: 0,
  };
  assert.deepEqual(decodeBytes(encodeMessage(stat), TO_CORE), stat);
});

test('the layout is the one that the C side writes', () => {
  const bytes = encodeMessage({ type: 'STARTED', generation: 2 });
  assert.equal(bytes.toString('hex'), '100000010000000c' + '0100000000000004' + '00000002');
});

test('a stream may come in any pieces, and descriptors stay with their record', () => {
  const two = Buffer.concat([encodeMessage(CONFIG), encodeMessage({ type: 'STOP' })]);
  for (const size of [1, 7, 8, 9, 100, two.length]) {
    const assembler = new RecordAssembler(CONTROL_LIMIT);
    const complete: { kind: number; fds: number[] }[] = [];
    for (let at = 0; at < two.length; at += size) {
      const piece = assembler.push(two.subarray(at, at + size), at === 0 ? [55] : []);
      complete.push(...piece.map(({ record, fds }) => ({ kind: record.kind, fds })));
    }
    assert.deepEqual(complete, [
      { kind: 1, fds: [55] },
      { kind: 2, fds: [] },
    ]);
  }
});

test('damage of any single byte is refused or yields a complete message, never anything else', () => {
  const good = encodeMessage({ type: 'SIGNAL', pid: 1, signal: 'SIGTERM', group: 0 });
  const outcome = (bytes: Buffer): string => {
    try {
      return decodeBytes(bytes, FROM_CORE).type;
    } catch (error) {
      return error instanceof PassengerError ? error.code : String(error);
    }
  };
  for (let at = 0; at < good.length; at += 1) {
    for (const value of [0, 1, 4, 0x7f, 0xff]) {
      const bad = Buffer.from(good);
      bad[at] = value;
      assert.match(outcome(bad), /^(SIGNAL|PSG7002)$/);
    }
    assert.equal(outcome(good.subarray(0, at)), 'PSG7002');
  }
});

test('missing, repeated and unknown fields, wrong sizes and NULs are refused', () => {
  const number = (tag: number, value = 1) => ({ tag, bytes: Buffer.from([0, 0, 0, value]) });
  const signal = { tag: 2, bytes: Buffer.from('SIGTERM') };
  const decode = (fields: { tag: number; bytes: Buffer }[], kind = 67) =>
    decodeBytes(encodeRecord({ kind, fields }, CHANNEL_LIMIT), FROM_CORE);
  assert.equal(decode([number(1), signal, number(3)]).type, 'SIGNAL');
  assert.throws(() => decode([number(1), signal]), PSG7002);
  assert.throws(() => decode([number(1), signal, number(3), number(3)]), PSG7002);
  assert.throws(() => decode([number(1), signal, number(3), number(9)]), PSG7002);
  assert.throws(() => decode([{ tag: 1, bytes: Buffer.alloc(3) }, signal, number(3)]), PSG7002);
  assert.throws(() => decode([number(1), { tag: 2, bytes: Buffer.from('A\0B') }, number(3)]), PSG7002);
  assert.throws(() => decode([], 1), PSG7002, 'a CONFIG does not come from the core');
});

test('limits hold in both directions', () => {
  const long: Message<'STAT'> = {
    type: 'STAT',
    requestId: 1,
    appRoot: 'x'.repeat(70_000),
    question: '',
    place: '',
  };
  assert.throws(() => encodeMessage(long), { code: 'PSG7001' });
  const assembler = new RecordAssembler(CONTROL_LIMIT);
  assert.throws(() => assembler.push(Buffer.from('0100000000200000', 'hex'), []), PSG7002);
});
