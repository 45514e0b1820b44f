/** Copies what is appended to a file, as `tail -f` does. */
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import type { Writable } from 'node:stream';

const INTERVAL_MS = 200;

/** @returns a function that ends it */
export function followFile(path: string, target: Writable): () => void {
  const buffer = Buffer.alloc(65_536);
  let fd: number | undefined;
  const timer = setInterval(() => {
    if (fd === undefined && existsSync(path)) fd = openSync(path, 'r');
    for (let size = 1; fd !== undefined && size > 0;) {
      size = readSync(fd, buffer, 0, buffer.length, null);
      if (size > 0) target.write(Buffer.from(buffer.subarray(0, size)));
    }
  }, INTERVAL_MS);
  return () => {
    clearInterval(timer);
    if (fd !== undefined) closeSync(fd);
  };
}
