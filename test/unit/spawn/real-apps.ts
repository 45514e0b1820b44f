/** Real app directories for tests that start real processes, and questions to what has become of them. */
import assert from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { PassengerError, type Fields } from '../../../core/base/errors.js';
import type { AppConfig, AppFacts } from '../../../core/config/app-config.js';
import type { AppProcessHandle, AppTarget } from '../../../core/spawn/spawner.js';
import { eventually } from '../../support/eventually.js';
import { appConfig } from './app-configs.js';
import type { SmallSupervisor } from './small-supervisor.js';

type Settings = Parameters<typeof appConfig>[1];
export const HELLO = "require('http').createServer((q, s) => s.end('hello ' + process.pid)).listen(3000);";

/** An app directory with these files. */
export function appRoot(t: TestContext, files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(path.join(tmpdir(), 'psg-app-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(root, name), text);
  return root;
}

export function configOf(
  t: TestContext,
  files: Readonly<Record<string, string>>,
  settings: Settings = {},
  facts: Partial<AppFacts> = {},
): AppConfig {
  return appConfig({ appRoot: appRoot(t, files), ...facts }, { startTimeout: '20', ...settings });
}

export function get(target: AppTarget): Promise<string> {
  const where = 'path' in target ? { socketPath: target.path } : target;
  return new Promise((resolve, reject) => {
    http
      .get({ ...where, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
        response.on('end', () => resolve(text));
      })
      .on('error', reject);
  });
}

export async function failureOf(
  ready: Promise<AppProcessHandle>,
): Promise<{ code: string; details: Fields }> {
  try {
    await ready;
  } catch (error) {
    assert.ok(error instanceof PassengerError, String(error));
    return error;
  }
  throw new Error('the start succeeded');
}

export async function noneLeft(supervisor: SmallSupervisor): Promise<void> {
  await eventually(
    5000,
    'no process is left',
    () => supervisor.children.size === 0 && supervisor.spawner.size === 0,
  );
}
