/**
 * What a core that ends hands to the supervisor because its log does not take it: the errors and warnings that fit into
 * one message, the latest first of all, and the number of all other lines. Pure. The supervisor has the same log, but
 * the time to wait for it.
 */
import type { LogWriterLine } from '../native.js';
import type { Message } from './messages.js';

/** Well below CHANNEL_LIMIT. */
const BYTES = 48 * 1024;
const FIELD_COST = 8;
/** LOG_WARNING of <syslog.h>; the level stands in the lowest three bits. */
const WARNING = 4;
const LEVEL_BITS = 7;

type LastWords = Omit<Message<'LAST_WORDS'>, 'type'>;

export function lastWords(unwritten: readonly LogWriterLine[]): LastWords {
  const lines: string[] = [];
  let room = BYTES;
  for (const { priority, text } of [...unwritten].reverse()) {
    const line = text.trimEnd();
    const cost = Buffer.byteLength(line) + FIELD_COST;
    if ((priority & LEVEL_BITS) > WARNING || cost > room) continue;
    lines.unshift(line);
    room -= cost;
  }
  return { lines, lost: unwritten.length - lines.length };
}

/** Root's log gets whole lines and nothing else. */
export function heardWords(lines: readonly string[]): string[] {
  // eslint-disable-next-line no-control-regex -- control characters are the point
  return lines.map((line) => line.replace(/[\x00-\x1f\x7f-\x9f]/g, '?'));
}
