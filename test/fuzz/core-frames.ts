/** What a core might say to the module: answers of every shape, mostly well-formed, and then spoilt. For the fuzzing of the module. */
import { ACCEPTED_FRAME, END_FRAME, encodeFrame, encodeRefusal } from '../../core/wire/encoder.js';
import { FRAME } from '../../core/wire/frames.js';
import { encodeHead, fieldText } from '../../core/wire/head-frame.js';
import type { Random } from './random.js';

const NAMES = [
  'Content-Type',
  'Content-Length',
  'Set-Cookie',
  'Transfer-Encoding',
  'Connection',
  'Status',
  'Location',
  'WWW-Authenticate',
  'X-Sendfile',
  'Date',
  'Server',
  'Keep-Alive',
  'Upgrade',
  'ETag',
  'Content-Encoding',
  'Content-Range',
  'Trailer',
  'Bad Name',
  '',
  'X-\xe4',
];
const VALUES = [
  '',
  '0',
  '5',
  '12',
  'text/html',
  'chunked',
  'a=b; Path=/',
  '\xe4\x8d\x8a',
  'gzip',
  'upgrade',
  '99999999999999999999',
  '-1',
];
const BAD_VALUES = ['x\r\ny: z', '\0', 'a\nb', '\x01', '\x7f'];
const STATUSES = [101, 200, 200, 200, 200, 204, 206, 301, 304, 401, 404, 416, 500, 502, 503, 599, 600, 999];
const BAD_STATUSES = [0, 99, 100, 103, 199, 1000, 65_535];

function head(random: Random, interim: boolean): Buffer {
  const bad = random.chance(0.2);
  let fields = '';
  let count = 0;
  for (let n = random.below(random.pick([3, 3, 20, 300])); n > 0; n -= 1) {
    const value = random.chance(0.02)
      ? 'v'.repeat(random.below(60_000))
      : random.pick(bad && random.chance(0.3) ? BAD_VALUES : VALUES);
    if (fields.length + value.length > 120_000) break;
    fields += fieldText(random.pick(bad ? NAMES : NAMES.slice(0, -3)), value);
    count += 1;
  }
  if (random.chance(0.03)) count += random.pick([1, -1, 1000]);
  const status = interim
    ? random.pick(bad ? [101, 200, 99] : [100, 102, 103, 103])
    : random.pick(bad && random.chance(0.3) ? BAD_STATUSES : STATUSES);
  const reason = random.pick(['OK', 'OK', '', 'Odd', bad ? 'a\rb' : '\xe4', 'r'.repeat(300)]);
  return encodeHead(
    { status, reason, count: count & 0xffff, fields },
    { interim, noBody: random.chance(0.2) },
  );
}

function frame(random: Random): Buffer {
  switch (random.below(9)) {
    case 0:
      return ACCEPTED_FRAME;
    case 1:
      return head(random, true);
    case 2:
      return head(random, false);
    case 3:
      return END_FRAME;
    case 4:
      return encodeRefusal(
        FRAME.ABORT,
        random.pick([502, 503, 400, 200, 0, 65_535]),
        random.pick(['PSG4001', '', 'x'.repeat(200)]),
      );
    case 5:
      return encodeRefusal(FRAME.REJECT, random.pick([502, 503]), 'PSG3001');
    case 6:
      return encodeFrame(random.below(256), random.below(256), random.bytes(random.below(40)));
    default:
      return encodeFrame(
        FRAME.DATA,
        random.below(2),
        random.bytes(1 + random.below(random.pick([10, 5000, 65_536]))),
      );
  }
}

/** A whole answer of the kind that the core gives. */
function honest(random: Random): Buffer[] {
  const frames: Buffer[] = [];
  if (random.chance(0.2)) frames.push(ACCEPTED_FRAME);
  if (random.chance(0.2)) frames.push(head(random, true));
  frames.push(head(random, false));
  for (let n = random.below(4); n > 0; n -= 1)
    frames.push(
      encodeFrame(FRAME.DATA, random.below(2), random.bytes(1 + random.below(random.pick([10, 20_000])))),
    );
  frames.push(random.chance(0.8) ? END_FRAME : encodeRefusal(FRAME.ABORT, 502, 'PSG4003'));
  return frames;
}

/** The bytes of one answer, some of them spoilt. */
export function coreBytes(random: Random): Buffer {
  const frames = honest(random);
  while (random.chance(0.35)) frames.splice(random.below(frames.length + 1), random.below(2), frame(random));
  const bytes = Buffer.concat(frames);
  if (random.chance(0.3)) {
    for (let n = 1 + random.below(3); n > 0; n -= 1)
      bytes[random.below(random.chance(0.7) ? Math.min(bytes.length, 60) : bytes.length)] = random.below(256);
  }
  return random.chance(0.1) ? bytes.subarray(0, random.below(bytes.length)) : bytes;
}
