/**
 * `npm run gen [directory]`: writes all files that come from the directive table and the error table, by default
 * into this repository. A test compares them with what is committed.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { errorsReference } from './emit-errors.js';
import { allDirectivesExample } from './emit-example.js';
import { directivesHeader } from './emit-header.js';
import { directivesReference } from './emit-reference.js';

/** Path below the top directory, and what stands in the file. */
export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([
    ['apache-module/directives.gen.h', directivesHeader()],
    ['conf-examples/DIRECTIVES.md', directivesReference()],
    ['conf-examples/all-directives.conf', allDirectivesExample()],
    ['conf-examples/ERRORS.md', errorsReference()],
  ]);
}

function emit(top: string): void {
  for (const [path, text] of generatedFiles()) {
    const target = join(top, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
  }
}

if (require.main === module) emit(process.argv[2] ?? resolve(__dirname, '../..'));
