#!/usr/bin/env node
/**
 * Set-up of a checkout: whatever the demo, the tests or an installation need and is missing or out of date.
 *
 * Runs before anything is installed, therefore plain JavaScript with built-ins only. Idempotent: each step first asks
 * whether it has anything to do. Called by `npm run setup`, as the first step of `npm run demo` and `npm test`, and by
 * passenger-install-apache2-module.
 *
 *   --tests   also what only the tests need: test/apps' dependencies and, as root, the test users
 *   --fuzz    also the compiler of the fuzz targets
 *   --browser also Debian's Chromium, for the browser tests
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { argv, env, execPath, exit, getuid, stderr, stdout, versions } from 'node:process';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

const OLDEST_NODE = [20, 17];

/** Command that must be found → Debian package that brings it. */
const TOOLS = [
  ['apache2', 'apache2'],
  ['apachectl', 'apache2'],
  ['apxs', 'apache2-dev'],
  ['make', 'make'],
  ['gcc', 'gcc'],
  ['g++', 'g++'],
  ['cmake', 'cmake'],
];
const FUZZ_TOOLS = [['clang', 'clang']];
const BROWSER_TOOLS = [['chromium', 'chromium']];

/** psgapp1 has a supplementary group and psgshell a login shell, so that tests can see both arrive in an app. */
const TEST_USERS = [
  { name: 'psgapp1', shell: '/usr/sbin/nologin', groups: ['psgextra'] },
  { name: 'psgapp2', shell: '/usr/sbin/nologin', groups: [] },
  { name: 'psgshell', shell: '/bin/bash', groups: [] },
];

const POLICY_FILE = '/usr/sbin/policy-rc.d';

class SetupError extends Error {}

function say(text) {
  stdout.write(`set-up: ${text}\n`);
}

function onPath(command) {
  const directories = `${env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin`.split(
    ':',
  );
  return directories.some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK);
      return directory !== '';
    } catch {
      return false; // not there or not ours to run: look on
    }
  });
}

/** Runs a step's command; its output is shown only when it fails, so that a set-up stays readable. */
function run(what, file, args, options = {}) {
  const result = spawnSync(file, args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 64 << 20, ...options });
  if (result.error !== undefined)
    throw new SetupError(`${what}: cannot run ${file}: ${result.error.message}`);
  if (result.status === 0) return result.stdout;
  const output = `${result.stdout}${result.stderr}`.trim();
  throw new SetupError(
    `${what} failed (${file} ${args.join(' ')}, exit ${result.status ?? result.signal})\n${output}`,
  );
}

function checkNode() {
  const [major, minor] = versions.node.split('.').map(Number);
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return;
  throw new SetupError(`Node.js ${OLDEST_NODE.join('.')} or newer is needed, this is ${versions.node}`);
}

/** Keeps apt from starting services while `body` runs; a policy that the machine already has stays as it is. */
function withoutServices(body) {
  if (existsSync(POLICY_FILE)) return body();
  writeFileSync(POLICY_FILE, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  const remove = () => rmSync(POLICY_FILE, { force: true });
  process.once('exit', remove);
  try {
    return body();
  } finally {
    remove();
    process.off('exit', remove);
  }
}

function installPackages(tools) {
  const packages = [...new Set(tools.filter(([command]) => !onPath(command)).map(([, name]) => name))];
  if (packages.length === 0) return false;
  const install = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (!onPath('apt-get'))
    throw new SetupError(`please install (these are Debian's names): ${packages.join(' ')}`);
  if (getuid() !== 0) {
    throw new SetupError(`packages are missing, please run: sudo apt-get update && sudo ${install}`);
  }
  say(`${install} (no service is started)`);
  withoutServices(() => {
    const options = { env: { ...env, DEBIAN_FRONTEND: 'noninteractive' } };
    run('apt-get update', 'apt-get', ['update'], options);
    run('apt-get install', 'apt-get', install.split(' ').slice(1), options);
  });
  return true;
}

/** Whether what `npm ci` left in `directory` is what its lockfile asks for. */
function installedAsLocked(directory) {
  const installedFile = join(directory, 'node_modules/.package-lock.json');
  if (!existsSync(installedFile)) return false;
  const locked = JSON.parse(readFileSync(join(directory, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages;
  return Object.entries(locked).every(([path, entry]) => {
    if (path === '' || entry.optional === true || entry.link === true) return true;
    return installed[path]?.version === entry.version && existsSync(join(directory, path));
  });
}

function installDependencies(directory) {
  if (installedAsLocked(directory)) return false;
  const where = relative(ROOT, directory);
  say(`npm ci${where === '' ? '' : ` in ${where}`}`);
  run('npm ci', 'npm', ['ci', '--include=dev', '--no-audit', '--no-fund'], { cwd: directory });
  return true;
}

function* filesBelow(path, wanted) {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const below = join(path, entry.name);
    if (entry.isDirectory() && entry.name !== 'node_modules' && entry.name !== 'build')
      yield* filesBelow(below, wanted);
    if (entry.isFile() && wanted(below)) yield below;
  }
}

/** Runs `build` unless `stamp` says that it already ran over the same contents. */
function buildIfChanged(stamp, files, salt, build) {
  const hash = createHash('sha256').update(salt);
  for (const file of [...files].sort()) hash.update(`\0${relative(ROOT, file)}\0`).update(readFileSync(file));
  const wanted = hash.digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return false;
  build();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, wanted);
  return true;
}

function buildTypeScript() {
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  if (!existsSync(join(ROOT, 'tsconfig.json'))) return false; // an installed package brings dist/ ready-made
  const sources = ['core', 'test'].flatMap((room) => [
    ...filesBelow(join(ROOT, room), (file) => file.endsWith('.ts') && !file.includes('/test/apps/')),
  ]);
  const files = [...sources, join(ROOT, 'tsconfig.json'), join(ROOT, 'package-lock.json')];
  return buildIfChanged(join(ROOT, 'dist/.stamp'), files, '', () => {
    say('compiling TypeScript');
    run('tsc', execPath, [compiler, '-p', ROOT]);
  });
}

function buildAddon() {
  const addon = join(ROOT, 'native/build/Release/passenger_native.node');
  const stamp = join(ROOT, 'native/build/.stamp');
  const builder = join(ROOT, 'node_modules/cmake-js/bin/cmake-js');
  if (!existsSync(builder) && existsSync(addon)) return false; // an installed package brings the addon ready-made
  if (!existsSync(addon)) rmSync(stamp, { force: true });
  const files = [join(ROOT, 'native/CMakeLists.txt'), ...filesBelow(join(ROOT, 'native/src'), () => true)];
  return buildIfChanged(stamp, files, `${versions.modules} ${process.arch}`, () => {
    say('building the native addon');
    run('cmake-js', execPath, [builder, 'compile', '-d', join(ROOT, 'native')]);
  });
}

/** make itself knows what is out of date, also when the place of the checkout or of Node.js changed. */
function buildModule() {
  const module = join(ROOT, 'apache-module/build/mod_passenger.so');
  const builtAt = () => (existsSync(module) ? statSync(module).mtimeMs : 0);
  const before = builtAt();
  run('make', 'make', ['-s', '-C', join(ROOT, 'apache-module'), `NODE=${execPath}`]);
  if (builtAt() === before) return false;
  say('built the Apache module');
  return true;
}

function makeTestUsers() {
  if (getuid() !== 0) return false;
  const known = new Set(
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':')[0]),
  );
  const missing = TEST_USERS.filter(({ name }) => !known.has(name));
  if (missing.length === 0) return false;
  say(`adding system users for the tests: ${missing.map(({ name }) => name).join(', ')}`);
  for (const { name, shell, groups } of missing) {
    for (const group of groups) run('groupadd', 'groupadd', ['--force', '--system', group]);
    const base = [
      '--system',
      '--user-group',
      '--create-home',
      '--home-dir',
      `/home/${name}`,
      '--shell',
      shell,
    ];
    run('useradd', 'useradd', [...base, ...(groups.length > 0 ? ['--groups', groups.join(',')] : []), name]);
  }
  return true;
}

/** Everything that `flags` ask for; throws SetupError with a text for the reader. */
export function setUp(flags) {
  const started = performance.now();
  checkNode();
  const steps = [
    () =>
      installPackages([
        ...TOOLS,
        ...(flags.has('--fuzz') ? FUZZ_TOOLS : []),
        ...(flags.has('--browser') ? BROWSER_TOOLS : []),
      ]),
    () => flags.has('--tests') && makeTestUsers(),
    () => existsSync(join(ROOT, 'package-lock.json')) && installDependencies(ROOT),
    buildTypeScript,
    buildAddon,
    buildModule,
  ];
  if (flags.has('--tests')) steps.push(() => installDependencies(join(ROOT, 'test/apps')));
  const done = steps.filter((step) => step());
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  say(done.length === 0 ? `nothing to do (${seconds} s)` : `done (${seconds} s)`);
}

/** setUp() for programs: prints a failure and ends with exit code 1. */
export function setUpOrExit(flags) {
  try {
    setUp(flags);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    stderr.write(`set-up: ${error.message}\n`);
    exit(1);
  }
}

if (realpathSync(argv[1]) === fileURLToPath(import.meta.url)) setUpOrExit(new Set(argv.slice(2)));
