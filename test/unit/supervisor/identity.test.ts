/** Which user and group: the rules of the table, one test each. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserFacts } from '../../../core/native.js';
import { chooseIdentity, type IdentityFacts } from '../../../core/supervisor/identity.js';

const account = (name: string, uid: number, gid: number): UserFacts => ({
  name,
  uid,
  gid,
  home: `/home/${name}`,
  shell: '/bin/sh',
});
const ROOT = account('root', 0, 0);
const ALICE = account('alice', 1001, 1001);
const BOB = account('bob', 1002, 1002);
const NOBODY = account('nobody', 65534, 65534);

function choose(changes: Partial<IdentityFacts>): [string, number] {
  const { user, gid } = chooseIdentity({
    userSwitching: true,
    user: { name: '', found: undefined },
    group: { name: '', found: undefined },
    defaultUser: { name: 'nobody', found: NOBODY },
    defaultGroup: { name: '', found: undefined },
    reference: { uid: 1001, gid: 50 },
    owner: ALICE,
    appRoot: { uid: 1001, gid: 50 },
    coreUid: 33,
    ...changes,
  });
  return [user.name, gid];
}

test('without a setting the owner of the startup file runs the app, with the primary group', () => {
  assert.deepEqual(choose({}), ['alice', 1001]);
});

test('a named user runs the app', () => {
  assert.deepEqual(choose({ user: { name: 'bob', found: BOB } }), ['bob', 1002]);
});

test('a named user or group that does not exist is an error', () => {
  assert.throws(() => choose({ user: { name: 'eve', found: undefined } }), { code: 'PSG7010' });
  assert.throws(() => choose({ group: { name: 'eves', found: undefined } }), { code: 'PSG7011' });
});

test('a file of root, of an unknown uid, or a named root falls back to the default user', () => {
  assert.deepEqual(choose({ owner: ROOT, reference: { uid: 0, gid: 0 } }), ['nobody', 65534]);
  assert.deepEqual(choose({ owner: undefined, reference: { uid: 4711, gid: 4711 } }), ['nobody', 65534]);
  assert.deepEqual(choose({ user: { name: 'root', found: ROOT } }), ['nobody', 65534]);
});

test('switched off, the default user and group run everything', () => {
  assert.deepEqual(choose({ userSwitching: false, user: { name: 'bob', found: BOB } }), ['nobody', 65534]);
  const defaultGroup = { name: 'apps', found: { name: 'apps', gid: 77 } };
  assert.deepEqual(choose({ userSwitching: false, defaultGroup }), ['nobody', 77]);
});

test('a named group, or the group of the startup file, replaces the primary group', () => {
  assert.deepEqual(choose({ group: { name: 'web', found: { name: 'web', gid: 80 } } }), ['alice', 80]);
  assert.deepEqual(choose({ group: { name: '!STARTUP_FILE!', found: undefined } }), ['alice', 50]);
});

test('gid 0 falls back to the default group', () => {
  assert.deepEqual(choose({ group: { name: 'root', found: { name: 'root', gid: 0 } } }), ['alice', 65534]);
  assert.deepEqual(choose({ owner: { ...ALICE, gid: 0 } }), ['alice', 65534]);
  assert.deepEqual(
    choose({ group: { name: '!STARTUP_FILE!', found: undefined }, reference: { uid: 1001, gid: 0 } }),
    ['alice', 65534],
  );
});

test('a default that is root or missing is an error', () => {
  const owner = { owner: ROOT, reference: { uid: 0, gid: 0 } };
  assert.throws(() => choose({ ...owner, defaultUser: { name: 'root', found: ROOT } }), { code: 'PSG7012' });
  assert.throws(() => choose({ ...owner, defaultUser: { name: 'gone', found: undefined } }), {
    code: 'PSG7010',
  });
  const defaultGroup = { name: 'gone', found: undefined };
  assert.throws(() => choose({ owner: { ...ALICE, gid: 0 }, defaultGroup }), { code: 'PSG7011' });
  const rootGroup = { name: 'root', found: { name: 'root', gid: 0 } };
  assert.throws(() => choose({ owner: { ...ALICE, gid: 0 }, defaultGroup: rootGroup }), { code: 'PSG7012' });
});

test("files of the core's user run only as the core's user", () => {
  const user = { name: 'bob', found: BOB };
  assert.throws(() => choose({ user, reference: { uid: 33, gid: 33 } }), { code: 'PSG7014' });
  assert.throws(() => choose({ user, appRoot: { uid: 33, gid: 33 } }), { code: 'PSG7014' });
  const www = account('www-data', 33, 33);
  assert.deepEqual(choose({ owner: www, reference: { uid: 33, gid: 33 } }), ['www-data', 33]);
});
