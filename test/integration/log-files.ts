/** What the tests of logs share: an app with a log file of its own, words that it says, and lines in files. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Apache } from '../support/apache.js';
import { giveTo } from '../support/apps.js';
import { eventually } from '../support/eventually.js';
import { ask } from './client.js';
import { site, type Scene } from './kit.js';

export const OWN_LOG = 'PassengerAppLogFile log/app.log';

export const textOf = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8') : '');

export async function lineIn(file: string, pattern: RegExp, deadlineMs = 5000): Promise<string> {
  return eventually(deadlineMs, `${file} has ${String(pattern)}`, () =>
    textOf(file)
      .split('\n')
      .find((line) => pattern.test(line)),
  );
}

export const say = (apache: Apache, word: string): Promise<unknown> =>
  ask(apache.port, 'a.test', `/log?line=${word}`);

/** The fixture app with a directory `log` of its owner, and PassengerAppLogFile in it. */
export async function withOwnLog(
  scene: Scene,
  name: string,
  options: { server?: string; config?: string } = {},
): Promise<{ apache: Apache; app: string; file: string }> {
  const app = await scene.app(name);
  mkdirSync(join(app, 'log'));
  giveTo(join(app, 'log'), 'psgapp1');
  const { server = '', config = OWN_LOG } = options;
  const apache = await scene.start({ vhosts: [site('a.test', app, config)], server });
  return { apache, app, file: join(app, 'log/app.log') };
}

/** Says words until one of them stands in the file: what was on its way when the file moved may stand in the old one. */
export async function saidIn(apache: Apache, file: string, word: string): Promise<void> {
  await eventually(8000, `${word} stands in ${file}`, async () => {
    await say(apache, word);
    return textOf(file).includes(`stdout: ${word}`);
  });
}
