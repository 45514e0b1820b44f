/** The version of this software, as package.json has it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** From core/base as well as from dist/core/base. */
const CANDIDATES = ['../..', '../../..'];

function readVersion(): string {
  for (const place of CANDIDATES) {
    try {
      const text = readFileSync(join(__dirname, place, 'package.json'), 'utf8');
      return String((JSON.parse(text) as { version?: unknown }).version);
    } catch {
      // Not here: the other place is tried.
    }
  }
  throw new Error('package.json of Passenger TS is missing');
}

export const VERSION: string = readVersion();
