/**
 * What the running integration test has made and must be gone at its end. Tests of one file run one after the other, so
 * there is one of these at a time; audit.ts opens and closes it.
 */
import { rmSync } from 'node:fs';

/** A thing with a life that the audit ends. */
export interface Audited {
  /** Ends it and returns complaints: what should have been otherwise. */
  audit(): Promise<string[]>;
  /** What helps to understand a failure, for example a log. */
  report(): string;
}

export class CurrentTest {
  readonly audited: Audited[] = [];
  readonly directories: string[] = [];

  constructor(readonly title: string) {}

  removeDirectories(): void {
    for (const directory of this.directories) rmSync(directory, { recursive: true, force: true });
  }
}

let current: CurrentTest | undefined;

export function openTest(title: string): CurrentTest {
  if (current !== undefined)
    throw new Error(`"${current.title}" still runs: integration tests of a file are not concurrent`);
  current = new CurrentTest(title);
  return current;
}

export function closeTest(): void {
  current = undefined;
}

export function currentTest(): CurrentTest {
  if (current === undefined) throw new Error('only inside integrationTest()');
  return current;
}
