/** Large bodies through the server, never whole in memory, with a look at the memory of all processes on the way. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import type { Apache } from '../support/apache.js';
import type { Scene } from './kit.js';
import { peaks } from './pool-view.js';

export const MB = 1_048_576;

/** A body of `size` bytes, never whole in memory, and its SHA-256. */
function send(
  apache: Apache,
  path: string,
  size: number,
): Promise<{ status: number; text: string; sha: string }> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256');
    const headers = { host: 'a.test', 'content-length': size };
    const upload = request(
      { port: apache.port, host: '127.0.0.1', path, method: 'POST', headers },
      (response) => {
        let text = '';
        response.on('data', (part: Buffer) => (text += part.toString()));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text, sha: hash.digest('hex') }),
        );
      },
    );
    upload.on('error', reject);
    const block = Buffer.alloc(MB);
    let left = size;
    const more = (): void => {
      while (left > 0) {
        block.writeUInt32LE(left % 4_294_967_296, 0);
        const part = Buffer.from(block.subarray(0, Math.min(left, block.length)));
        left -= part.length;
        hash.update(part);
        if (upload.write(part)) continue;
        upload.once('drain', more);
        return;
      }
      upload.end();
    };
    more();
  });
}

/** Takes an answer without keeping it. */
function take(apache: Apache, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request({ port: apache.port, host: '127.0.0.1', path, headers: { host: 'a.test' } }, (response) => {
      let count = 0;
      response.on('data', (part: Buffer) => {
        count += part.length;
      });
      response.on('end', () => resolve(count));
      response.on('error', reject);
    })
      .on('error', reject)
      .end();
  });
}

/** No process may have grown by more than this since it was warm. */
const MAY_GROW_MB = 48;

function assertFlat(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): void {
  for (const [name, mb] of after) {
    const grown = mb - (before.get(name) ?? mb);
    assert.ok(grown < MAY_GROW_MB, `${name} grew by ${grown.toFixed(0)} MB to ${mb.toFixed(0)} MB`);
  }
}

/** `size` bytes to the app and as many back: complete, and with memory that does not depend on the size. */
export async function upAndDown(scene: Scene, size: number, config: string): Promise<void> {
  // httpd's own limit is 1 GB by default.
  const { apache } = await scene.serve('probe', `LimitRequestBody 0\n${config}`);
  await send(apache, '/sha', 20 * MB);
  await take(apache, `/chunked?n=${20 * MB}`);
  const before = peaks(apache);
  const up = await send(apache, '/sha', size);
  assert.equal(up.status, 200);
  assert.equal((JSON.parse(up.text) as { sha256: string }).sha256, up.sha);
  assert.equal(await take(apache, `/chunked?n=${size}`), size);
  assertFlat(before, peaks(apache));
}
