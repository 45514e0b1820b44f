/**
 * Integration tests with an audit of the world after each: Apache and all that it started is gone, nothing is left in the
 * file system, no warning or error that the test did not declare stands in the log, and the core kept no descriptor.
 *
 *     integrationTest('an app answers', async (t) => {
 *       const app = await copyApp('hello');
 *       const apache = await Apache.start(t.name, { vhosts: [{ name: 'a.test', documentRoot: `${app}/public` }] });
 *       …
 *     });
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { closeTest, openTest, type CurrentTest } from './current-test.js';
import { IS_ROOT, NEEDS_ROOT } from './users.js';

export interface IntegrationOptions {
  /** Skips the test, with a reason, when not root. */
  readonly root?: boolean;
  readonly skip?: string | false;
  readonly timeoutMs?: number;
}

export type IntegrationBody = (t: TestContext) => Promise<void>;

async function auditAll(current: CurrentTest): Promise<string[]> {
  const complaints: string[] = [];
  for (const audited of [...current.audited].reverse()) complaints.push(...(await audited.audit()));
  return complaints;
}

async function runAudited(t: TestContext, title: string, body: IntegrationBody): Promise<void> {
  const current = openTest(title);
  let failure: Error | undefined;
  let complaints: string[] = [];
  try {
    await body(t);
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
  }
  try {
    complaints = await auditAll(current);
  } finally {
    if (failure !== undefined || complaints.length > 0) {
      for (const audited of current.audited) t.diagnostic(`log of "${title}":\n${audited.report()}`);
    }
    current.removeDirectories();
    closeTest();
  }
  for (const complaint of complaints) t.diagnostic(`audit: ${complaint}`);
  if (failure !== undefined) throw failure;
  assert.deepEqual(complaints, [], 'the audit after the test');
}

export function integrationTest(title: string, body: IntegrationBody): void;
export function integrationTest(title: string, options: IntegrationOptions, body: IntegrationBody): void;
export function integrationTest(
  title: string,
  optionsOrBody: IntegrationOptions | IntegrationBody,
  maybeBody?: IntegrationBody,
): void {
  const options = typeof optionsOrBody === 'function' ? {} : optionsOrBody;
  const body = typeof optionsOrBody === 'function' ? optionsOrBody : maybeBody;
  if (body === undefined) throw new Error(`integrationTest("${title}") has no body`);
  const skip = options.skip ?? (options.root === true && !IS_ROOT ? NEEDS_ROOT : false);
  test(title, { skip, timeout: options.timeoutMs ?? 90_000 }, (t) => runAudited(t, title, body));
}
