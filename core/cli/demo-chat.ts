/**
 * One question to the demo's chat, for `npm run demo -- --check`: says a text over a WebSocket and waits for it to come back.
 * Not a WebSocket client: it knows just enough of RFC 6455 for that.
 */
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';

const DEADLINE_MS = 60_000;
const FINAL_TEXT = 0x81;
const MASKED = 0x80;

/** A text of less than 126 bytes as a client's frame: masked. */
function textFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  const mask = randomBytes(4);
  const masked = payload.map((byte, index) => byte ^ (mask[index & 3] ?? 0));
  return Buffer.concat([Buffer.from([FINAL_TEXT, MASKED | payload.length]), mask, masked]);
}

/** The status that the upgrade got, and whether the chat then said `text`. */
export function chatAnswers(
  port: number,
  host: string,
  text: string,
): Promise<{ status: number; said: boolean }> {
  return new Promise((resolve) => {
    const attempt = request({
      host: '127.0.0.1',
      port,
      path: '/chat',
      headers: {
        host,
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': randomBytes(16).toString('base64'),
      },
      agent: false,
      timeout: DEADLINE_MS,
    });
    attempt.once('timeout', () => attempt.destroy());
    attempt.once('error', () => resolve({ status: 0, said: false }));
    attempt.once('response', (response) => {
      response.resume();
      resolve({ status: response.statusCode ?? 0, said: false });
    });
    attempt.once('upgrade', (_response, socket, head) => {
      let heard = Buffer.alloc(0);
      const hear = (data: Buffer): void => {
        heard = Buffer.concat([heard, data]);
        // The frames of a server are not masked.
        if (!heard.includes(text)) return;
        socket.destroy();
        resolve({ status: 101, said: true });
      };
      socket.on('data', hear);
      socket.once('timeout', () => socket.destroy());
      socket.once('error', () => undefined);
      socket.once('close', () => resolve({ status: 101, said: false }));
      hear(head);
      socket.write(textFrame(text));
    });
    attempt.end();
  });
}
