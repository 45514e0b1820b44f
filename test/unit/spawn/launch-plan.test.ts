/** What is started for which configuration, in which environment. */
import assert from 'node:assert';
import { test } from 'node:test';
import { PassengerError } from '../../../core/base/errors.js';
import type { AppFacts } from '../../../core/config/app-config.js';
import { decideAppType, startupFileBeneath } from '../../../core/spawn/app-type.js';
import { launchPlan, type LaunchChoices } from '../../../core/spawn/launch-plan.js';
import { appConfig, envEntries } from './app-configs.js';

type Settings = Parameters<typeof appConfig>[1];
const choices: LaunchChoices = { socketPath: '/run/p/apps/k.sock', port: undefined, timeZone: undefined };

const node = (startupFile: string, meteorBundle = false): unknown => ({
  kind: 'node',
  startupFile,
  meteorBundle,
});

const DECISIONS: readonly { what: string; facts: Partial<AppFacts>; settings: Settings; type: unknown }[] = [
  { what: 'app.js was found', facts: {}, settings: {}, type: node('app.js') },
  {
    what: 'a start command wins over everything',
    facts: {},
    settings: { appStartCommand: 'x', startupFile: 'y', appType: 'node' },
    type: { kind: 'command' },
  },
  {
    what: 'a configured startup file wins over what was found',
    facts: { found: 'meteor' },
    settings: { startupFile: 'bin/www' },
    type: node('bin/www'),
  },
  {
    what: 'an absolute startup file below the app root',
    facts: {},
    settings: { startupFile: '/srv/shop/lib/x.js' },
    type: node('lib/x.js'),
  },
  {
    what: 'a startup file with dots that stays inside',
    facts: {},
    settings: { startupFile: './lib/../x.js' },
    type: node('x.js'),
  },
  {
    what: 'a name that begins with dots',
    facts: {},
    settings: { startupFile: '..x.js' },
    type: node('..x.js'),
  },
  {
    what: '.meteor was found',
    facts: { found: 'meteor', foundStartupFile: '' },
    settings: {},
    type: { kind: 'meteor' },
  },
  {
    what: 'a Meteor bundle was found',
    facts: { found: 'meteor-bundle', foundStartupFile: '' },
    settings: {},
    type: node('main.js', true),
  },
  {
    what: 'a bundle of type meteor',
    facts: { found: 'meteor-bundle', foundStartupFile: 'main.js' },
    settings: { appType: 'meteor' },
    type: node('main.js', true),
  },
  {
    what: 'type meteor',
    facts: { found: '', foundStartupFile: '' },
    settings: { appType: 'meteor' },
    type: { kind: 'meteor' },
  },
  {
    what: 'only package.json was found',
    facts: { found: 'package', foundStartupFile: '' },
    settings: {},
    type: { kind: 'detect' },
  },
  {
    what: 'type node and nothing found',
    facts: { found: '', foundStartupFile: '' },
    settings: { appType: 'node' },
    type: { kind: 'detect' },
  },
];

for (const { what, facts, settings, type } of DECISIONS) {
  test(`type of an app: ${what}`, () => {
    assert.deepStrictEqual(decideAppType(appConfig(facts, settings)), type);
  });
}

const REFUSED: readonly { what: string; facts: Partial<AppFacts>; settings: Settings; code: string }[] = [
  { what: 'nothing found', facts: { found: '' }, settings: {}, code: 'PSG6001' },
  { what: 'a Passengerfile only', facts: { found: 'passengerfile' }, settings: {}, code: 'PSG6002' },
  { what: 'a startup file above the root', facts: {}, settings: { startupFile: '../x.js' }, code: 'PSG6003' },
  {
    what: 'an absolute startup file elsewhere',
    facts: {},
    settings: { startupFile: '/etc/x.js' },
    code: 'PSG6003',
  },
];

for (const { what, facts, settings, code } of REFUSED) {
  test(`${what} is refused with ${code}`, () => {
    assert.throws(
      () => decideAppType(appConfig(facts, settings)),
      (error) => error instanceof PassengerError && error.code === code,
    );
  });
}

function planOf(
  facts: Partial<AppFacts>,
  settings: Settings,
  more: Partial<LaunchChoices> = {},
): ReturnType<typeof launchPlan> {
  const config = appConfig(facts, settings);
  return launchPlan(config, decideAppType(config), { ...choices, ...more });
}

test('a Node app gets the environment of Passenger and nothing of ours', () => {
  const plan = planOf({}, { appEnv: 'staging' });
  assert.deepStrictEqual(plan.env, [
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'LANG=C.UTF-8',
    'IN_PASSENGER=1',
    'PYTHONUNBUFFERED=1',
    'NODE_ENV=staging',
    'RAILS_ENV=staging',
    'RACK_ENV=staging',
    'WSGI_ENV=staging',
    'PASSENGER_APP_ENV=staging',
    'PASSENGER_APP_ROOT=/srv/shop',
    'PASSENGER_APP_SOCKET=/run/p/apps/k.sock',
  ]);
  assert.strictEqual(plan.appEnv, 'staging');
});

test('SetEnv wins over everything but what the start itself needs', () => {
  const env = envEntries(
    'NODE_ENV=test',
    'PATH=/opt/bin',
    'A=1',
    'A=2=3',
    'PORT=1',
    'LISTEN_PID=9',
    'PASSENGER_APP_SOCKET=/x',
    '=x',
    'novalue',
    'NUL=a\0b',
  );
  const plan = planOf({ env }, { appStartCommand: 'run' }, { port: 4711 });
  const values = new Map(
    plan.env.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  );
  assert.strictEqual(values.get('NODE_ENV'), 'test');
  assert.strictEqual(values.get('PATH'), '/opt/bin');
  assert.strictEqual(values.get('A'), '2=3');
  assert.strictEqual(values.get('PORT'), '4711');
  for (const name of ['LISTEN_PID', 'PASSENGER_APP_SOCKET', '', 'novalue', 'NUL'])
    assert.ok(!values.has(name), name);
  assert.ok(plan.winningEnv.includes('PATH=/opt/bin') && plan.winningEnv.includes('PORT=4711'));
});

test('a login shell may extend PATH and LANG, and nothing else of ours', () => {
  const plan = planOf({}, {}, { timeZone: 'Europe/Vienna' });
  const open = plan.env
    .filter((entry) => !plan.winningEnv.includes(entry))
    .map((entry) => entry.split('=')[0]);
  assert.deepStrictEqual(open, ['PATH', 'LANG', 'TZ']);
});

test('an app below a sub-URI is told its base URI', () => {
  const { env } = planOf({ baseUri: '/shop' }, {});
  assert.ok(env.includes('PASSENGER_BASE_URI=/shop'));
  assert.ok(!planOf({}, {}).env.some((entry) => entry.startsWith('PASSENGER_BASE_URI')));
});

test('a Node app without SetEnv has no PORT; a Meteor app knows of one proxy unless told otherwise', () => {
  assert.ok(!planOf({}, {}).env.some((entry) => entry.startsWith('PORT=')));
  const bundle = { found: 'meteor-bundle', foundStartupFile: 'main.js' } as const;
  assert.ok(planOf(bundle, {}).env.includes('HTTP_FORWARDED_COUNT=1'));
  const own = planOf({ ...bundle, env: envEntries('HTTP_FORWARDED_COUNT=2') }, {}).env;
  assert.deepStrictEqual(
    own.filter((entry) => entry.startsWith('HTTP_F')),
    ['HTTP_FORWARDED_COUNT=2'],
  );
});

test('the owner of the startup file decides the user, for other programs that of the app root', () => {
  assert.strictEqual(planOf({}, {}).referenceFile, 'app.js');
  assert.strictEqual(planOf({}, { appStartCommand: 'x' }).referenceFile, '');
  assert.strictEqual(planOf({ found: 'meteor' }, {}).referenceFile, '.meteor');
  assert.strictEqual(planOf({ found: 'package' }, {}).referenceFile, 'package.json');
});

test('commands, Node binaries and users are handed on as configured', () => {
  const plan = planOf(
    {},
    { appStartCommand: 'run me', user: 'shop', group: 'www', nodejs: '/opt/node', loadShellEnvvars: 'off' },
  );
  const { kind, startCommand, user, group, nodejs, loadShellEnvvars, startupFile } = plan;
  assert.deepStrictEqual(
    { kind, startCommand, user, group, nodejs, loadShellEnvvars, startupFile },
    {
      kind: 'command',
      startCommand: 'run me',
      user: 'shop',
      group: 'www',
      nodejs: '/opt/node',
      loadShellEnvvars: 0,
      startupFile: '',
    },
  );
});

test('what a process claims to have found must be a name below the app root', () => {
  assert.strictEqual(startupFileBeneath('/srv/shop', 'bin/www'), 'bin/www');
  for (const name of ['', '.', '..', '../x', 'a/../../x', '/etc/x', 'a\0b', 'x'.repeat(5000)]) {
    assert.throws(() => startupFileBeneath('/srv/shop', name), /PSG6003/, name.slice(0, 20));
  }
});
