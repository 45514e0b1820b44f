/**
 * Long-polling clients in a few lines, so that ten thousand polls take seconds: Engine.IO 4 (socket.io) and SockJS 0.3,
 * with cookies or without, against test/apps/socket-io-app and sockjs-app. What is not the answer that the session
 * owes is an error: a process that does not know the session cannot pass.
 */
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { ask, type Answer } from './client.js';

/** One client: its connections and its cookies. */
class Visitor {
  readonly #agent: Agent;
  readonly #cookies = new Map<string, string>();
  polls = 0;

  /** @param cookies whether it keeps them */
  constructor(
    private readonly port: number,
    private readonly cookies: boolean,
    keepAlive: boolean,
  ) {
    this.#agent = new Agent({ keepAlive, maxSockets: 2 });
  }

  async ask(path: string, body?: string, type = 'text/plain'): Promise<Answer> {
    this.polls += 1;
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { 'Content-Type': type, ...(cookie === '' ? {} : { Cookie: cookie }) };
    const options = { headers, agent: this.#agent, ...(body === undefined ? {} : { body }) };
    const answer = await ask(this.port, 'a.test', path, options);
    for (const line of this.cookies ? (answer.headers['set-cookie'] ?? []) : []) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      this.#cookies.set(name, value);
    }
    return answer;
  }

  leave(): void {
    this.#agent.destroy();
  }
}

interface ClientOptions {
  readonly cookies: boolean;
  readonly keepAlive?: boolean;
}

/** A session with socket.io-app. @returns polls that were answered as they should */
export async function talkSocketIo(port: number, rounds: number, options: ClientOptions): Promise<number> {
  const visitor = new Visitor(port, options.cookies, options.keepAlive ?? true);
  const path = '/socket.io/?EIO=4&transport=polling';
  const opened = await visitor.ask(path);
  const sid = /"sid":"([^"]+)"/.exec(opened.text)?.[1];
  assert.ok(sid !== undefined, `${opened.status} ${opened.text}`);
  const url = `${path}&sid=${sid}`;
  const say = async (packet: string): Promise<void> => {
    const answer = await visitor.ask(url, packet);
    assert.equal(`${answer.status} ${answer.text}`, '200 ok');
  };
  const hear = async (wanted: RegExp): Promise<void> => {
    let heard = '';
    while (!wanted.test(heard)) {
      const answer = await visitor.ask(url);
      assert.equal(answer.status, 200, answer.text);
      heard += answer.text;
    }
  };
  await say('40');
  await hear(/42\["welcome"/);
  for (let round = 0; round < rounds; round += 1) {
    await say(`42${round}["say","${round}"]`);
    await hear(new RegExp(`43${round}\\["heard ${round}"\\]`));
  }
  visitor.leave();
  return visitor.polls;
}

/** Receiving transports of SockJS, and how each is sent to. */
export const SOCKJS_TRANSPORTS = ['xhr', 'xhr_streaming', 'eventsource', 'htmlfile', 'jsonp'] as const;
export type SockJsTransport = (typeof SOCKJS_TRANSPORTS)[number];

/** A session with sockjs-app. @returns polls that were answered as they should */
export async function talkSockJs(
  port: number,
  transport: SockJsTransport,
  rounds: number,
  options: ClientOptions,
): Promise<number> {
  const visitor = new Visitor(port, options.cookies, options.keepAlive ?? true);
  const base = `/sockjs/${Math.floor(Math.random() * 1000)}/${Math.random().toString(36).slice(2, 10)}`;
  const info = await visitor.ask('/sockjs/info');
  assert.equal(info.status, 200);
  const say = async (text: string): Promise<void> => {
    const frame = JSON.stringify([text]);
    const answer =
      transport === 'jsonp'
        ? await visitor.ask(
            `${base}/jsonp_send`,
            `d=${encodeURIComponent(frame)}`,
            'application/x-www-form-urlencoded',
          )
        : await visitor.ask(`${base}/xhr_send`, frame);
    assert.equal(answer.status, transport === 'jsonp' ? 200 : 204, answer.text);
  };
  // Streams stay open for as long as there is nothing to hear; only the next poll of xhr and jsonp ends by itself.
  const hear = async (wanted: string): Promise<void> => {
    for (let heard = ''; !heard.includes(wanted);) {
      const answer = await listen(visitor, base, transport);
      assert.equal(answer.status, 200, answer.text);
      heard += answer.text;
    }
  };
  if (transport !== 'xhr' && transport !== 'jsonp') return streamed(visitor, base, transport, rounds, say);
  assert.match((await listen(visitor, base, transport)).text, transport === 'xhr' ? /^o\n$/ : /"o"/);
  await hear('from ');
  for (let round = 0; round < rounds; round += 1) {
    await say(`word ${round}`);
    await hear(`word ${round}`);
  }
  visitor.leave();
  return visitor.polls;
}

function listen(visitor: Visitor, base: string, transport: SockJsTransport): Promise<Answer> {
  if (transport === 'eventsource') return visitor.ask(`${base}/eventsource`);
  if (transport === 'htmlfile' || transport === 'jsonp')
    return visitor.ask(`${base}/${transport}?c=callback`);
  return visitor.ask(`${base}/${transport}`, '');
}

/** The stream ends when the app has said enough (128 KB): so the client says much. */
async function streamed(
  visitor: Visitor,
  base: string,
  transport: SockJsTransport,
  rounds: number,
  say: (text: string) => Promise<void>,
): Promise<number> {
  const stream = listen(visitor, base, transport);
  // The session begins with the stream, and the app tells nobody but the stream.
  await new Promise((turn) => setTimeout(turn, 200));
  for (let round = 0; round < rounds; round += 1) await say(`word ${round} ${'x'.repeat(1000)}`);
  await say('x'.repeat(140_000));
  const { status, text } = await stream;
  assert.equal(status, 200);
  assert.equal(text.match(/word \d+ /g)?.length, rounds);
  visitor.leave();
  return visitor.polls;
}
