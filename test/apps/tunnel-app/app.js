'use strict';
// Upgrades of several kinds: /ws speaks WebSocket, the others raw bytes. /seen tells what the app has observed.
const http = require('node:http');
const { WebSocketServer } = require('ws');

const seen = { open: 0, closes: [], half: '', early: '', ended: 0, pings: 0 };
const wss = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 * 1024 });

wss.on('connection', (socket) => {
  seen.open += 1;
  socket.on('ping', () => (seen.pings += 1));
  socket.on('close', (code, reason) => {
    seen.open -= 1;
    seen.closes.push([code, reason.toString()]);
  });
  socket.on('error', () => undefined);
  socket.on('message', (data, binary) => {
    const text = binary ? '' : data.toString();
    if (text === 'pid') socket.send(String(process.pid));
    else if (text.startsWith('close ')) socket.close(Number(text.slice(6)), 'as you wish');
    else if (text.startsWith('ping ')) socket.ping(text.slice(5));
    else socket.send(data, { binary });
  });
});

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n';

const raw = {
  // Says everything back, and goodbye when the client has ended.
  '/echo': (socket) => {
    socket.write(SWITCH);
    socket.on('data', (data) => socket.write(data));
    socket.on('end', () => socket.end('goodbye'));
  },
  // Ends its own direction first and goes on listening.
  '/half': (socket) => {
    socket.end(`${SWITCH}done`);
    socket.on('data', (data) => (seen.half += data));
    socket.on('end', () => (seen.ended += 1));
  },
  // Switches late: what has come by then was sent too early.
  '/late': (socket, head) => {
    seen.early = head.toString();
    setTimeout(() => {
      socket.write(SWITCH);
      socket.on('data', (data) => socket.write(`<${data}>`));
    }, 300);
    socket.on('end', () => socket.end());
  },
  // As much as the query says, in the very write of the 101.
  '/flood': (socket, head, url) => {
    const bytes = Buffer.alloc(Number(url.searchParams.get('n')), 'x');
    socket.write(Buffer.concat([Buffer.from(SWITCH), bytes]));
    socket.on('data', () => undefined);
    socket.on('end', () => socket.end());
  },
  // Takes nothing from the client for a while.
  '/lazy': (socket) => {
    let bytes = 0;
    socket.write(SWITCH);
    setTimeout(() => socket.on('data', (data) => (bytes += data.length)), 1000);
    socket.on('end', () => socket.end(String(bytes)));
  },
  // Takes nothing from the client, ever.
  '/deaf': (socket) => socket.write(SWITCH),
  '/refuse': (socket) =>
    socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!'),
};

const server = http.createServer((req, res) => {
  if (req.url === '/seen') res.end(JSON.stringify(seen));
  else if (req.url === '/headers') res.end(JSON.stringify(req.headers));
  else if (req.url === '/pid') res.end(String(process.pid));
  else res.end('plain');
});
server.on('upgrade', (req, socket, head) => {
  const url = new URL(req.url, 'http://app');
  socket.on('error', () => undefined);
  const serve = raw[url.pathname];
  if (serve === undefined) wss.handleUpgrade(req, socket, head, (client) => wss.emit('connection', client));
  else serve(socket, head, url);
});
server.listen(3000);
