/**
 * Runs groups of tests one after the other and sums up: `node test/run.mjs [group…] [-- pattern]`, by default all but soak and browser.
 * A group that fails does not stop the following ones. Needs what `core/cli/setup.mjs --tests` brings.
 */
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import process from 'node:process';

const ROOT = join(import.meta.dirname, '..');
const BIN = join(ROOT, 'node_modules/.bin');
/** A test that hangs fails with its name instead of holding up everything; files count as tests here. */
const FILE_TIMEOUT_MS = 10 * 60_000;

/** Files of these groups start real servers; more than two at once would test the machine's load. */
const SERVERS_AT_ONCE = 2;

const command = (name, file, args) => ({ name, steps: [[file, args]] });
const tests = (name, directories, concurrency) => ({ name, directories, concurrency });

const GROUPS = [
  command('lint', join(BIN, 'eslint'), ['.', '--max-warnings=0']),
  command('format', join(BIN, 'prettier'), ['--check', '--log-level=warn', '.']),
  command('c', 'make', ['-s', '-C', 'apache-module', 'check']),
  tests('unit', ['test/unit'], 2),
  tests('config', ['test/config'], 2),
  tests('integration', ['test/integration'], SERVERS_AT_ONCE),
  tests('fault', ['test/fault'], SERVERS_AT_ONCE),
  // Minutes and gigabytes, and a browser: only when they are named.
  { ...tests('soak', ['test/soak'], 1), onDemand: true },
  { ...tests('browser', ['test/browser'], 1), onDemand: true },
];
const SHORTHANDS = {
  check: ['lint', 'format', 'c'],
  quick: ['lint', 'format', 'c', 'unit', 'config'],
};

function testFiles(directory) {
  const path = join(ROOT, directory);
  if (!existsSync(path)) return [];
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts') && !name.includes('node_modules'))
    .map((name) => join(directory, name))
    .sort();
}

/**
 * As root: makes sure that Apache's user and the test users can read the installation and the fixture apps' packages,
 * if need be through copies. The tests hear of the copies by PSG_TEST_ROOT and PSG_TEST_APPS.
 */
function stage() {
  if (process.getuid() !== 0) return undefined;
  const require = createRequire(import.meta.url);
  const { accountNamed } = require('../dist/core/cli/accounts.js');
  const {
    canRead,
    makeTemporaryDirectory,
    openForReading,
    readableRoot,
  } = require('../dist/core/cli/staged-root.js');
  const account = accountNamed('www-data');
  const directory = makeTemporaryDirectory('psg-stage-');
  const root = readableRoot(ROOT, join(directory, 'installation'), account);
  const environment = {};
  if (root !== ROOT) environment.PSG_TEST_ROOT = root;
  const apps = join(ROOT, 'test/apps');
  if (!canRead(account, [join(apps, 'package.json'), join(apps, 'node_modules/express/package.json')])) {
    const copy = join(directory, 'apps');
    mkdirSync(copy, { recursive: true });
    cpSync(apps, copy, { recursive: true, verbatimSymlinks: true });
    openForReading(copy);
    environment.PSG_TEST_APPS = copy;
  }
  if (Object.keys(environment).length > 0)
    console.log(`other users cannot read this directory: testing copies in ${directory}`);
  return { directory, environment };
}

function runStep(file, args, environment) {
  return new Promise((resolve) => {
    const child = spawn(file, args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...environment } });
    child.once('error', (error) => {
      console.error(`${file}: ${error.message}`);
      resolve(false);
    });
    child.once('exit', (code) => resolve(code === 0));
  });
}

function stepsOf(group, pattern) {
  if (group.steps !== undefined) return group.steps;
  const files = group.directories.flatMap(testFiles).filter((file) => file.includes(pattern));
  if (files.length === 0) return [];
  const flags = [
    `--test-concurrency=${group.concurrency}`,
    `--test-timeout=${FILE_TIMEOUT_MS}`,
    '--test-reporter=spec',
  ];
  return [[process.execPath, ['--import', 'tsx', '--test', ...flags, ...files]]];
}

async function runGroup(group, pattern, environment) {
  const started = performance.now();
  console.log(`\n── ${group.name}`);
  const steps = stepsOf(group, pattern);
  let good = true;
  for (const [file, args] of steps) good = (await runStep(file, args, environment)) && good;
  const seconds = (performance.now() - started) / 1000;
  return { name: group.name, result: steps.length === 0 ? 'none' : good ? 'ok' : 'FAILED', seconds };
}

async function main() {
  const separator = process.argv.indexOf('--');
  const names = process.argv
    .slice(2, separator === -1 ? undefined : separator)
    .flatMap((name) => SHORTHANDS[name] ?? name);
  const pattern = separator === -1 ? '' : (process.argv[separator + 1] ?? '');
  const unknown = names.filter((name) => !GROUPS.some((group) => group.name === name));
  if (unknown.length > 0) {
    console.error(
      `unknown group ${unknown.join(', ')}; there are ${GROUPS.map(({ name }) => name).join(', ')}`,
    );
    return 1;
  }
  const chosen = GROUPS.filter(
    ({ name, onDemand }) => names.includes(name) || (names.length === 0 && onDemand !== true),
  );
  const needsServers = chosen.some(({ name }) =>
    ['config', 'integration', 'fault', 'soak', 'browser'].includes(name),
  );
  const staged = needsServers ? stage() : undefined;
  const results = [];
  try {
    for (const group of chosen) results.push(await runGroup(group, pattern, staged?.environment ?? {}));
  } finally {
    if (staged !== undefined) rmSync(staged.directory, { recursive: true, force: true });
  }
  console.log('\n── summary');
  for (const { name, result, seconds } of results) {
    console.log(`${name.padEnd(12)} ${result.padEnd(7)} ${seconds.toFixed(1).padStart(6)} s`);
  }
  if (results.every(({ result }) => result === 'none')) {
    console.error(`no test file has "${pattern}" in its path`);
    return 1;
  }
  return results.every(({ result }) => result !== 'FAILED') ? 0 : 1;
}

process.exitCode = await main();
