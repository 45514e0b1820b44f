/** The demo's chat speaks WebSocket by its own hand: it keeps to RFC 6455, and to its limits. */
import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.js';
import { rule } from './kit.js';
import { RawClient } from './client.js';
import { closePayload, frame, RawWebSocket } from './raw-websocket.js';

const LONGEST = 64 * 1024;

/** Takes frames up to the chat's message of this text. */
async function hears(client: RawWebSocket, text: string): Promise<void> {
  for (;;) {
    const { kind, payload } = await client.take();
    assert.equal(kind, 'text');
    const event = JSON.parse(payload.toString()) as { kind: string; text?: string };
    if (event.kind === 'message' && event.text === text) return;
  }
}

rule('the chat tells everybody what one says, and newcomers what was said', {}, async (scene) => {
  const { apache } = await scene.serve('chat');
  const door = { port: apache.port, tls: false };
  const one = await RawWebSocket.open(door);
  const two = await RawWebSocket.open(door);
  await one.write(
    Buffer.concat([frame('text', 'in ', false), frame('ping'), frame('continuation', 'parts')]),
  );
  await hears(two, 'in parts');
  await two.writeChopped(frame('text', 'x'.repeat(LONGEST)), 997);
  const late = await RawWebSocket.open(door);
  for (const client of [two, late]) await hears(client, 'x'.repeat(LONGEST));
  for (const client of [one, two, late]) client.destroy();
});

rule('the chat refuses what it does not take, with the code that RFC 6455 has for it', {}, async (scene) => {
  const { apache } = await scene.serve('chat');
  for (const [code, bytes] of [
    [1000, frame('close', closePayload(1000))],
    [1002, Buffer.from([0x81, 0x01, 0x41])],
    [1002, frame('continuation', 'of nothing')],
    [1003, frame('binary', 'bytes')],
    [1007, frame('text', Buffer.from([0xff]))],
    [1009, frame('text', 'x'.repeat(LONGEST + 1))],
  ] as const) {
    const client = await RawWebSocket.open({ port: apache.port, tls: false });
    await client.write(bytes);
    let answer = await client.take();
    // Who came and left before.
    while (answer.kind === 'text') answer = await client.take();
    assert.equal(answer.kind, 'close');
    assert.equal(answer.payload.readUInt16BE(0), code);
    client.destroy();
  }
});

rule('the chat takes only WebSockets of its own pages', {}, async (scene) => {
  const { apache } = await scene.serve('chat');
  for (const [status, fields] of [
    [403, 'Sec-WebSocket-Version: 13\r\nOrigin: http://other.test'],
    [101, 'Sec-WebSocket-Version: 13\r\nOrigin: http://a.test'],
    [426, 'Sec-WebSocket-Version: 8'],
  ] as const) {
    const client = await RawClient.open(apache.port);
    const key = Buffer.alloc(16).toString('base64');
    client.send(
      `GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${key}\r\n${fields}\r\n\r\n`,
    );
    await eventually(10_000, 'an answer', () => client.text.includes('\r\n\r\n'));
    assert.match(client.text, new RegExp(`^HTTP/1.1 ${status} `));
    client.close();
  }
});
