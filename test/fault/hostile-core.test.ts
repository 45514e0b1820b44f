/**
 * The module survives whatever comes over the core's socket: a stand-in for the core answers real requests of a real Apache with
 * frames that are spoilt in every way. No child dies, every client gets an answer or sees its connection break, and when the
 * real core is back all is as before. For a few seconds here; `npm run fuzz:module` does it for longer, with sanitizers.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import type { Mpm } from '../../core/cli/private-apache.js';
import { coreBytes } from '../fuzz/core-frames.js';
import { Random, pieces, seedFromEnvironment } from '../fuzz/random.js';
import { ask } from '../integration/client.js';
import { converse } from '../integration/hostile.js';
import { alive, apacheChildren, rule } from '../integration/kit.js';
import { StandIn } from './core-socket.js';

const BUDGET_MS = Number(process.env['PSG_FUZZ_SECONDS'] ?? '5') * 1000;
/** Set by test/fuzz/module-fuzz.ts. */
const PRELOAD = process.env['PSG_FUZZ_PRELOAD'];
const AT_ONCE = 6;
/** A client leaves after so long; the module waits for a silent core for seconds. */
const PATIENCE_MS = 150;

/** An answer to each burst of bytes from the module, now and then none, and after some answers the end. */
function answerBadly(socket: Socket, random: Random): void {
  socket.on('data', () => {
    if (random.chance(0.02)) return;
    const bytes = coreBytes(random);
    for (const part of bytes.length > 2000 ? [bytes] : pieces(random, bytes)) socket.write(part);
    if (random.chance(0.4)) socket.end();
  });
}

const KEPT = 'Host: a.test\r\n';
const HOST = `${KEPT}Connection: close\r\n`;
const UPGRADE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n';
const REQUESTS: readonly string[] = [
  `GET /x HTTP/1.1\r\n${HOST}\r\n`,
  `GET /x HTTP/1.0\r\nHost: a.test\r\n\r\n`,
  `HEAD /x HTTP/1.1\r\n${HOST}\r\n`,
  `GET /x HTTP/1.1\r\n${KEPT}\r\nGET /y HTTP/1.1\r\n${HOST}\r\n`,
  `POST /x HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nhello`,
  `POST /x HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
  `POST /x HTTP/1.1\r\n${HOST}Content-Length: 200000\r\n\r\n${'x'.repeat(100_000)}`,
  `POST /x HTTP/1.1\r\n${HOST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello`,
  `GET /x HTTP/1.1\r\n${KEPT}${UPGRADE}\r\n`,
  `GET /x HTTP/1.1\r\n${KEPT}${UPGRADE}\r\n\x81\x02hi`,
];

async function bombard(port: number, random: Random): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const end = performance.now() + BUDGET_MS;
  const client = async (): Promise<void> => {
    while (performance.now() < end) {
      const talk = await converse(port, random.pick(REQUESTS), { quietMs: PATIENCE_MS, enough: () => true });
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(talk.text)?.[1] ?? talk.end;
      counts[status] = (counts[status] ?? 0) + 1;
      for (const line of talk.text.slice(0, talk.text.indexOf('\r\n\r\n')).split('\r\n'))
        // eslint-disable-next-line no-control-regex -- that is what must not be there
        assert.ok(!/[\x00-\x08\x0a-\x1f\x7f]/.test(line), `SEED=${random.seed}: ${JSON.stringify(line)}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, client));
  return counts;
}

for (const mpm of ['event', 'prefork'] as const satisfies readonly Mpm[]) {
  rule(
    `any bytes from the core’s socket: no child of Apache (${mpm}) dies`,
    { root: true, timeoutMs: 90_000 + 2 * BUDGET_MS },
    async (scene) => {
      const random = new Random(seedFromEnvironment());
      const extraEnv =
        PRELOAD === undefined
          ? {}
          : {
              LD_PRELOAD: PRELOAD,
              ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1:handle_abort=1:detect_stack_use_after_return=1',
              UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
            };
      const { apache } = await scene.serve('probe', '', { mpm, extraEnv, server: 'Timeout 2' });
      apache.allowLog(/PSG1\d{3}|AH00161|AH00484|AH10159/);
      const children = apacheChildren(apache);
      const standIn = await StandIn.start(apache, (socket) => answerBadly(socket, random));
      const counts = await bombard(apache.port, random).finally(() => standIn.stop());
      process.stdout.write(`# ${mpm}: SEED=${random.seed} ${JSON.stringify(counts)}\n`);
      assert.ok((counts['200'] ?? 0) > 0 && (counts['502'] ?? 0) > 0, 'good and bad answers were among them');
      for (const pid of children) assert.ok(alive(pid) || mpm === 'prefork', `child ${pid} lives`);
      assert.doesNotMatch(apache.log(), /exit signal|Sanitizer|runtime error/);
      assert.equal((await ask(apache.port, 'a.test', '/')).text, 'hello, probe');
    },
  );
}
