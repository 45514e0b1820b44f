// What test/bench measures, under every server alike: answers of three sizes, a sink for bodies, a WebSocket echo.
const { createHash } = require('node:crypto');
const { createServer } = require('node:http');

const BODIES = {
  '/': Buffer.from('hello world\n'),
  '/16k': Buffer.alloc(16_384, 'x'),
  '/1m': Buffer.alloc(1_048_576, 'x'),
};

const server = createServer((req, res) => {
  const answer = () => {
    const body = BODIES[req.url] ?? BODIES['/'];
    res.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length });
    res.end(body);
  };
  if (req.method === 'GET') return answer();
  req.on('end', answer);
  req.resume();
});

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Short masked frames come back unmasked, whatever they say; all else ends the connection. */
function echo(socket, first) {
  let rest = first;
  const take = () => {
    const out = [];
    while (rest.length >= 6 && rest.length >= 6 + (rest[1] & 127)) {
      const length = rest[1] & 127;
      if (length > 125 || (rest[0] & 15) === 8) return socket.end();
      const frame = Buffer.allocUnsafe(2 + length);
      frame[0] = rest[0];
      frame[1] = length;
      for (let at = 0; at < length; at += 1) frame[2 + at] = rest[6 + at] ^ rest[2 + (at & 3)];
      out.push(frame);
      rest = rest.subarray(6 + length);
    }
    if (out.length > 0) socket.write(out.length === 1 ? out[0] : Buffer.concat(out));
  };
  socket.on('data', (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    take();
  });
  socket.on('end', () => socket.end());
  socket.on('error', () => socket.destroy());
  take();
}

server.on('upgrade', (req, socket, head) => {
  const accept = createHash('sha1')
    .update(`${req.headers['sec-websocket-key']}${GUID}`)
    .digest('base64');
  socket.setNoDelay(true);
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  echo(socket, head);
});

server.listen(process.env.PORT ?? 3000, '127.0.0.1');
