/**
 * A core that decides nothing: it relays what the supervisor says to the test, and the test's words to the
 * supervisor, as lines of JSON over <PASSENGER_ROOT>/driver.sock. Bundled and started by the supervisor under test.
 */
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { Channel } from '../../../core/supervisor/channel.js';
import { FROM_CORE, TO_CORE, type FromCore } from '../../../core/supervisor/messages.js';

type Order =
  | { order: 'send'; message: FromCore & { metaText?: string } }
  | { order: 'exit' }
  | { order: 'hang' }
  | { order: 'garbage' };

const driver = net.connect(path.join(process.env['PASSENGER_ROOT'] ?? '', 'driver.sock'));
const tell = (line: Record<string, unknown>): void => {
  const text = JSON.stringify(line, (_key, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  );
  driver.write(`${text}\n`);
};

const channel = new Channel<(typeof TO_CORE)[number], (typeof FROM_CORE)[number]>(3, TO_CORE, {
  onMessage: (message, fds) => {
    tell({ message, fds: fds.length, pid: process.pid });
    if (message.type === 'CORE_STOP') process.exit(0);
    if (message.type === 'START') channel.send({ type: 'READY' });
    const [stdout, stderr] = fds;
    if (stdout === undefined || stderr === undefined || !('pid' in message)) return;
    for (const fd of [stdout, stderr]) {
      new net.Socket({ fd, readable: true, writable: false }).on('data', (text: Buffer) =>
        tell({ output: text.toString(), of: message.pid }),
      );
    }
  },
  onEnd: () => process.exit(0),
});

function obey(line: Order): void {
  switch (line.order) {
    case 'exit':
      process.exit(3);
      break;
    case 'hang':
      for (;;);
    case 'garbage':
      fs.writeSync(3, 'no record at all');
      break;
    case 'send': {
      const { metaText, ...message } = line.message;
      const complete = message.type === 'SPAWN' ? { ...message, meta: Buffer.from(metaText ?? '') } : message;
      channel.send(complete);
    }
  }
}

let rest = '';
driver.on('data', (bytes: Buffer) => {
  const lines = (rest + bytes.toString()).split('\n');
  rest = lines.pop() ?? '';
  for (const line of lines) obey(JSON.parse(line) as Order);
});
driver.on('error', () => process.exit(1));
setInterval(() => channel.send({ type: 'HEARTBEAT' }), 1000);
tell({ hello: process.pid, uid: process.getuid?.(), gid: process.getgid?.(), env: Object.keys(process.env) });
