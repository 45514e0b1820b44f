/**
 * Files for bodies that are too large for memory: made in PassengerDataBufferDir and unlinked at once, so that nothing
 * is left over however the process ends. Used by body-buffer.ts and response-buffer.ts, which own the descriptor.
 */
import { randomBytes } from 'node:crypto';
import { close, open, unlink } from 'node:fs';
import { join } from 'node:path';

/** @param done gets a descriptor for reading and writing, or an error and nothing to close */
export function openNameless(
  directory: string,
  done: (error: NodeJS.ErrnoException | null, fd: number) => void,
): void {
  const path = join(directory, `passenger.body.${randomBytes(12).toString('hex')}`);
  // 'wx+': fails on anything that exists, also on a symbolic link.
  open(path, 'wx+', 0o600, (error, fd) => {
    if (error !== null) {
      done(error, -1);
      return;
    }
    unlink(path, (unlinkError) => {
      if (unlinkError === null) done(null, fd);
      else close(fd, () => done(unlinkError, -1));
    });
  });
}

/** What a short write left over. */
export function remainder(chunks: readonly Buffer[], written: number): Buffer[] {
  const left: Buffer[] = [];
  let skip = written;
  for (const chunk of chunks) {
    if (skip < chunk.length) left.push(chunk.subarray(skip));
    skip = Math.max(0, skip - chunk.length);
  }
  return left;
}
