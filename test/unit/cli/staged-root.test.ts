/** Apache's user must be able to read the installation; a checkout in a closed directory is therefore copied. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { accountNamed } from '../../../core/cli/accounts.js';
import { canRead, makeTemporaryDirectory, readableRoot } from '../../../core/cli/staged-root.js';

const skip = process.getuid?.() === 0 ? false : 'needs root: asks as another user';

/** A small installation in a directory of mode 0700, as mktemp makes them. */
function closedCheckout(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), 'psg-closed-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const packages = { 'node_modules/http-parser-js': {}, 'node_modules/typescript': { dev: true } };
  const files = {
    'package.json': '{}',
    'package-lock.json': JSON.stringify({ packages: { '': {}, ...packages } }),
    'dist/core/core.js': '',
    'core/loaders/preload.cjs': '',
    'node_modules/http-parser-js/package.json': '{}',
    'node_modules/typescript/package.json': '{}',
  };
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text, { mode: 0o600 });
  }
  return root;
}

test(
  'a checkout that other users cannot enter is copied, without what only development needs',
  { skip },
  (t) => {
    const root = closedCheckout(t);
    const target = makeTemporaryDirectory('psg-copy-');
    t.after(() => rmSync(target, { recursive: true, force: true }));
    const account = accountNamed('www-data');
    assert.equal(readableRoot(root, target, account), target);
    assert.equal(
      canRead(account, [join(target, 'dist/core/core.js'), join(target, 'core/loaders/preload.cjs')]),
      true,
    );
    assert.equal(existsSync(join(target, 'node_modules/http-parser-js/package.json')), true);
    assert.equal(existsSync(join(target, 'node_modules/typescript')), false);
  },
);

test('an installation that everybody can read is used where it is', { skip }, (t) => {
  const root = closedCheckout(t);
  const open = makeTemporaryDirectory('psg-open-');
  t.after(() => rmSync(open, { recursive: true, force: true }));
  readableRoot(root, open, accountNamed('www-data'));
  assert.equal(readableRoot(open, '/nowhere', accountNamed('www-data')), open);
});

test('without another user there is nothing to copy', () => {
  assert.equal(readableRoot('/closed', '/nowhere', undefined), '/closed');
});

test('a temporary directory can be searched by everybody and leaves room for socket paths', (t) => {
  const before = process.env['TMPDIR'];
  t.after(() => {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  });
  process.env['TMPDIR'] = `/tmp/${'long'.repeat(20)}`;
  const directory = makeTemporaryDirectory('psg-x-');
  t.after(() => rmSync(directory, { recursive: true }));
  assert.equal(statSync(directory).mode & 0o777, 0o755);
  assert.equal(dirname(directory), '/tmp');
});
