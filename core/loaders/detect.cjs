'use strict';
/**
 * Finds the startup file of an app that Passenger's own rules do not know: run as the app's user, with the app root as
 * working directory. Answers with one line of JSON on descriptor 4 and ends; it executes nothing of the app.
 * Order: app.js (it may have gone unseen where the type was configured), a Meteor bundle's main.js, package.json's
 * "main", its start script of the form `node [flags] FILE`, server.js, index.js.
 */
const fs = require('node:fs');
const path = require('node:path');

const ANSWER_FD = 4;
const MAX_PACKAGE_JSON = 256 * 1024;

/** Flags of node whose value is the next word. */
const FLAGS_WITH_VALUE = new Set(
  '-r --require --import --loader --experimental-loader -C --conditions --env-file --title --icu-data-dir'.split(
    ' ',
  ),
);

class NotFound extends Error {}

/** Reads package.json without following surprises: no FIFO blocks us, nothing big is loaded. */
function readPackage() {
  let fd;
  try {
    fd = fs.openSync('package.json', fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  } catch (error) {
    if (error.code === 'ENOENT') return {};
    throw new NotFound(`package.json cannot be read (${error.code})`);
  }
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile()) throw new NotFound('package.json is not a regular file');
    if (stat.size > MAX_PACKAGE_JSON) throw new NotFound('package.json is larger than 256 KB');
    return parsePackage(fs.readFileSync(fd, 'utf8'));
  } finally {
    fs.closeSync(fd);
  }
}

function parsePackage(text) {
  let value;
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch {
    throw new NotFound('package.json is not valid JSON');
  }
  return typeof value === 'object' && value !== null ? value : {};
}

/** The file that a script like `NODE_ENV=production node --flag server.js arg` runs; undefined for any other program. */
function fileOfScript(script) {
  if (typeof script !== 'string' || /[;&|<>`$()'"\\*?]/.test(script)) return undefined;
  const words = script.trim().split(/\s+/);
  while (words.length > 0 && /^[A-Za-z_]\w*=/.test(words[0])) words.shift();
  if (words.shift() !== 'node') return undefined;
  while (words.length > 0 && words[0].startsWith('-')) {
    if (FLAGS_WITH_VALUE.has(words.shift())) words.shift();
  }
  return words[0];
}

function isFile(name) {
  try {
    return fs.statSync(name).isFile();
  } catch {
    return false;
  }
}

/** The existing file below the app root that `name` means by Node's rules for a main module, or undefined. */
function resolveBeneath(name) {
  if (typeof name !== 'string' || name === '' || name.includes('\0') || path.isAbsolute(name))
    return undefined;
  const relative = path.normalize(name);
  if (relative === '..' || relative.startsWith('../')) return undefined;
  const candidates = [relative, `${relative}.js`, path.join(relative, 'index.js')];
  return candidates.find(isFile);
}

function detect() {
  if (isFile('app.js')) return 'app.js';
  if (isFile('star.json') && isFile('main.js')) return 'main.js';
  const { main, scripts } = readPackage();
  const start = typeof scripts === 'object' && scripts !== null ? scripts.start : undefined;
  for (const name of [main, fileOfScript(start), 'server.js', 'index.js']) {
    const found = resolveBeneath(name);
    if (found !== undefined) return found;
  }
  throw new NotFound(
    'found neither app.js, a file named by "main" or a start script `node FILE` in package.json, server.js nor index.js',
  );
}

function answer(message) {
  fs.writeSync(ANSWER_FD, `${JSON.stringify(message)}\n`);
}

try {
  answer({ type: 'detected', startupFile: detect() });
} catch (error) {
  answer({ type: 'failed', message: error instanceof NotFound ? error.message : String(error), stack: '' });
  process.exitCode = 1;
}
