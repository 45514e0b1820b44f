/** The settings block: what the Apache module sends about one place of its configuration. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PassengerError } from '../../../core/base/errors.js';
import { AppConfigs } from '../../../core/config/app-config.js';
import { DIRECTIVES } from '../../../core/config/directives.js';
import {
  decodeSettingsBlock,
  encodeEntry,
  encodeSettingsBlock,
  type SettingsBlockParts,
} from '../../../core/config/settings-block.js';
import { SettingsCache } from '../../../core/config/settings-cache.js';

const idOf = (name: string): number => DIRECTIVES.findIndex((row) => row.name === name);
const APP = encodeEntry(3, 0, 0, '/srv/app');

/** Code and reason of the refusal. */
function refusal(block: Buffer): string {
  try {
    decodeSettingsBlock(block);
  } catch (error) {
    assert.ok(error instanceof PassengerError, String(error));
    return `${error.code} ${String(error.details['reason'] ?? error.details['directive'])}`;
  }
  return 'accepted';
}

test('a block gives the app, its settings and the facts that the module found', () => {
  const { app, request, serverName } = decodeSettingsBlock(
    encodeSettingsBlock({
      directives: [
        ['PassengerBufferUpload', 'off'],
        ['PassengerMinInstances', '3'],
        ['PassengerAppEnv', 'staging'],
      ],
      env: [{ text: 'A=1=2', vhostLevel: true }],
      appRoot: '/srv/app',
      baseUri: '/shop',
      documentRoot: '/srv/app/public',
      found: 'package',
      foundStartupFile: 'main.js',
      serverName: 'www.example.com',
    }),
  );
  assert.equal(app.appRoot, '/srv/app');
  assert.equal(app.baseUri, '/shop');
  assert.equal(app.documentRoot, '/srv/app/public');
  assert.equal(app.found, 'package');
  assert.equal(app.foundStartupFile, 'main.js');
  assert.deepEqual(app.env, ['A=1=2']);
  assert.equal(app.groupName, '/srv/app (staging)');
  assert.equal(app.settings.minInstances, 3);
  assert.equal(request.bufferUpload, false);
  assert.equal(serverName, 'www.example.com');
});

test('everything but the app root has a default', () => {
  const { app, serverName } = decodeSettingsBlock(APP);
  assert.equal(app.baseUri, '/');
  assert.equal(app.documentRoot, '');
  assert.equal(app.found, '');
  assert.equal(serverName, '');
});

test('a decoded configuration is frozen to the ground', () => {
  const config = decodeSettingsBlock(
    encodeSettingsBlock({ appRoot: '/a', env: [{ text: 'A=', vhostLevel: true }] }),
  );
  for (const part of [config, config.app, config.app.settings, config.app.env, config.request]) {
    assert.ok(Object.isFrozen(part));
  }
});

test('an ignored directive is accepted without an effect, whatever its value', () => {
  const plain = decodeSettingsBlock(encodeSettingsBlock({ appRoot: '/a' }));
  const ruby = decodeSettingsBlock(
    encodeSettingsBlock({ appRoot: '/a', directives: [['PassengerRuby', 'ruby']] }),
  );
  assert.deepEqual(ruby, plain);
});

test('the values of a set may come in one entry, joined by line ends', () => {
  const { app } = decodeSettingsBlock(
    encodeSettingsBlock({ appRoot: '/a', directives: [['PassengerBaseURI', '/b\n/a']] }),
  );
  assert.deepEqual(app.settings.baseUri, ['/b', '/a']);
});

test('a set may be given more than once', () => {
  const lines: [string, string][] = [
    ['PassengerBaseURI', '/b'],
    ['PassengerBaseURI', '/a'],
  ];
  const { app } = decodeSettingsBlock(encodeSettingsBlock({ appRoot: '/a', directives: lines }));
  assert.deepEqual(app.settings.baseUri, ['/b', '/a']);
});

const brokenBlocks: [rule: string, block: Buffer, refusal: string][] = [
  ['an empty block', Buffer.alloc(0), 'PSG2001 app root is missing'],
  ['an empty app root', encodeEntry(3, 0, 0, ''), 'PSG2001 app root is missing'],
  ['a relative app root', encodeEntry(3, 0, 0, 'srv/app'), 'PSG2001 entry 3 is not absolute'],
  ['tag 0', Buffer.concat([encodeEntry(0, 0, 0, ''), APP]), 'PSG2001 unknown tag'],
  ['an unknown tag', Buffer.concat([APP, encodeEntry(9, 0, 0, '')]), 'PSG2001 unknown tag'],
  ['unknown flags', encodeEntry(3, 1, 0, '/srv'), 'PSG2001 unknown flags'],
  ['flags of a variable that nobody knows', encodeEntry(2, 3, 0, 'A=1'), 'PSG2001 unknown flags'],
  ['an id where none belongs', encodeEntry(3, 0, 7, '/srv'), 'PSG2001 id without a directive'],
  ['an id behind the table', encodeEntry(1, 0, DIRECTIVES.length, 'on'), 'PSG2001 no such directive'],
  ['the greatest id', encodeEntry(1, 0, 0xffff, 'on'), 'PSG2001 no such directive'],
  ['an alias', encodeEntry(1, 0, idOf('RailsEnv'), 'x'), 'PSG2001 directive has no value'],
  [
    'a directive of the server',
    encodeEntry(1, 0, idOf('PassengerMaxPoolSize'), '6'),
    'PSG2001 directive of the server',
  ],
  [
    'a value out of bounds',
    encodeEntry(1, 0, idOf('PassengerStartTimeout'), '0'),
    'PSG2002 PassengerStartTimeout',
  ],
  ['an unknown enum value', encodeEntry(1, 0, idOf('PassengerAppType'), 'rack'), 'PSG2002 PassengerAppType'],
  ['a control character', encodeEntry(1, 0, idOf('PassengerAppEnv'), 'a\r\nb'), 'PSG2002 PassengerAppEnv'],
  ['a NUL byte', encodeEntry(3, 0, 0, '/srv\0/app'), 'PSG2001 text holds a NUL byte'],
  ['a variable without a name', encodeEntry(2, 0, 0, '=1'), 'PSG2001 variable without a name'],
  ['a variable without a value', encodeEntry(2, 0, 0, 'A'), 'PSG2001 variable without a name'],
  [
    'an unknown kind of app',
    Buffer.concat([APP, encodeEntry(6, 0, 0, 'rack')]),
    'PSG2001 unknown kind of app',
  ],
  ['a fact that is given twice', Buffer.concat([APP, APP]), 'PSG2001 entry is given twice'],
  [
    'a single value that is given twice',
    Buffer.concat([1, 2].map((n) => encodeEntry(1, 0, idOf('PassengerMinInstances'), String(n)))),
    'PSG2001 entry is given twice',
  ],
  [
    'facts before variables',
    Buffer.concat([APP, encodeEntry(2, 0, 0, 'A=1')]),
    'PSG2001 entries are out of order',
  ],
  [
    'directives out of order',
    Buffer.concat([
      encodeEntry(1, 0, idOf('PassengerEnabled'), 'on'),
      encodeEntry(1, 0, idOf('PassengerMinInstances'), '1'),
    ]),
    'PSG2001 entries are out of order',
  ],
  ['text that is not UTF-8', Buffer.from([3, 0, 0, 0, 0, 0, 0, 2, 0x2f, 0xff]), 'PSG2001 text is not UTF-8'],
  ['a length that lies', Buffer.from([3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x2f]), 'PSG2001 entry is cut off'],
];
for (const [rule, block, expected] of brokenBlocks) {
  test(`${rule} is refused`, () => assert.equal(refusal(block), expected));
}

test('a block that is cut off anywhere inside an entry is refused', () => {
  const block = encodeSettingsBlock({
    appRoot: '/srv/app',
    directives: [['PassengerAppEnv', 'x']],
    baseUri: '/b',
  });
  const ends = new Set<number>();
  for (let end = 0; end < block.length; end += 8 + block.readUInt32BE(end + 4)) ends.add(end);
  for (let length = 1; length < block.length; length += 1) {
    const answer = refusal(block.subarray(0, length));
    if (!ends.has(length)) assert.equal(answer, 'PSG2001 entry is cut off', `length ${length}`);
  }
});

test('random bytes never get past the decoder with anything but a numbered refusal', () => {
  let seed = 1;
  const next = (): number => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) >>> 16;
  const good = encodeSettingsBlock({
    appRoot: '/srv/app',
    directives: [['PassengerAppEnv', 'x']],
    baseUri: '/b',
  });
  for (let round = 0; round < 2000; round += 1) {
    const block = Buffer.from(good);
    for (let flips = next() % 4; flips >= 0; flips -= 1)
      block.writeUInt8(next() & 0xff, next() % block.length);
    refusal(block);
  }
});

const base: SettingsBlockParts = { appRoot: '/srv/app', serverName: 'a' };
const keyOf = (parts: SettingsBlockParts): string =>
  decodeSettingsBlock(encodeSettingsBlock(parts)).app.groupKey;

test('what makes another process makes another group', () => {
  const variants: SettingsBlockParts[] = [
    base,
    { ...base, appRoot: '/srv/other' },
    ...[
      ['PassengerUser', 'u'],
      ['PassengerGroup', 'g'],
      ['PassengerNodejs', '/opt/node'],
      ['PassengerStartupFile', 'x.js'],
      ['PassengerAppType', 'node'],
      ['PassengerAppStartCommand', 'run'],
      ['PassengerAppEnv', 'staging'],
      ['PassengerAppGroupName', 'name'],
    ].map(([name = '', text = '']) => ({ ...base, directives: [[name, text] as const] })),
    { ...base, env: [{ text: 'A=1', vhostLevel: true }] },
    { ...base, env: [{ text: 'A=2', vhostLevel: true }] },
  ];
  assert.equal(new Set(variants.map(keyOf)).size, variants.length);
});

test('what does not make another process leaves the group alone', () => {
  const variants: SettingsBlockParts[] = [
    { ...base, serverName: 'b', baseUri: '/shop', found: 'node', foundStartupFile: 'app.js' },
    { ...base, directives: [['PassengerMinInstances', '2']] },
    { ...base, directives: [['PassengerStickySessions', 'on']] },
    { ...base, env: [{ text: 'SECTION=1', vhostLevel: false }] },
  ];
  for (const parts of variants) assert.equal(keyOf(parts), keyOf(base));
});

test('the group key shows no value of the environment', () => {
  const key = keyOf({ ...base, env: [{ text: 'SECRET=hunter2', vhostLevel: true }] });
  assert.match(key, /^\/srv\/app \(production\)#[0-9a-f]{16}$/);
});

test('equal blocks give the same object, equal apps the same AppConfig', () => {
  const cache = new SettingsCache();
  const first = cache.get(encodeSettingsBlock(base));
  assert.equal(cache.get(encodeSettingsBlock(base)), first);
  const sibling = cache.get(
    encodeSettingsBlock({ ...base, serverName: 'b', directives: [['PassengerEnabled', 'on']] }),
  );
  assert.notEqual(sibling, first);
  assert.equal(sibling.app, first.app);
  assert.equal(cache.size, 2);
});

test('the cache is bounded and forgets the oldest block', () => {
  const cache = new SettingsCache(3);
  const block = (n: number): Buffer => encodeSettingsBlock({ appRoot: `/srv/${n}` });
  const first = cache.get(block(0));
  for (let n = 1; n < 10; n += 1) cache.get(block(n));
  assert.equal(cache.size, 3);
  assert.notEqual(cache.get(block(0)), first);
});

test('a broken block is not remembered', () => {
  const cache = new SettingsCache();
  assert.throws(() => cache.get(Buffer.from('x')), PassengerError);
  assert.equal(cache.size, 0);
});

test('an AppConfig in use stays the same object while others come and go', () => {
  const configs = new AppConfigs(2);
  const used = decodeSettingsBlock(encodeSettingsBlock(base), configs).app;
  for (let n = 0; n < 5; n += 1) {
    decodeSettingsBlock(encodeSettingsBlock({ appRoot: `/srv/${n}` }), configs);
    assert.equal(decodeSettingsBlock(encodeSettingsBlock(base), configs).app, used);
  }
  assert.equal(configs.size, 2);
});
