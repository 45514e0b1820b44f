'use strict';
// An app that does not behave, on demand: takes memory, stands still, ignores requests to end, leaves children behind.
const { spawn } = require('node:child_process');
const http = require('node:http');

const hoard = [];
const MB = 2 ** 20;

function text(res, value) {
  res.writeHead(200, { 'Content-Type': 'text/plain' });
  res.end(String(value));
}

/** Children that no polite signal ends, with the app's own outputs. */
function children(count, detached) {
  const deaf = "trap '' TERM INT HUP; while :; do sleep 5; done";
  return Array.from({ length: count }, () => spawn('/bin/sh', ['-c', deaf], { stdio: 'inherit', detached }).pid);
}

const ROUTES = {
  '/': (res) => text(res, 'well'),
  '/pid': (res) => text(res, process.pid),
  // Takes so many MB for good, a moment after its answer.
  '/take': (res, q) => {
    text(res, process.pid);
    setTimeout(() => hoard.push(Buffer.alloc(Number(q.get('mb')) * MB, 1)), 100);
  },
  // Takes so many MB each 10 ms, for ever.
  '/leak': (res, q) => {
    text(res, process.pid);
    setTimeout(() => setInterval(() => hoard.push(Buffer.alloc(Number(q.get('mb')) * MB, 1)), 10), 100);
  },
  // A child takes the memory.
  '/child-takes': (res, q) => {
    const program = `const b = Buffer.alloc(${Number(q.get('mb'))} * 2 ** 20, 1); setInterval(() => b[0], 1000)`;
    spawn(process.execPath, ['-e', program], { stdio: 'ignore' });
    text(res, process.pid);
  },
  '/spin': () => {
    for (;;);
  },
  '/deaf': (res) => {
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(name, () => undefined);
    globalThis.PhusionPassenger?.on('exit', () => undefined);
    text(res, process.pid);
  },
  '/children': (res, q) => text(res, children(Number(q.get('n')), false).join(' ')),
  '/daemon': (res) => text(res, children(1, true).join(' ')),
  // Ends as apps should: takes no connections, closes those that are idle, finishes what it has.
  '/leave': (res) => {
    text(res, process.pid);
    server.close(() => process.exit(0));
  },
  '/hang': () => undefined,
  '/crash': () => process.exit(9),
};

const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://unruly');
  (ROUTES[url.pathname] ?? ROUTES['/'])(res, url.searchParams);
});
// A tunnel that neither speaks nor ends.
server.on('upgrade', (req, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n');
  socket.on('error', () => undefined);
});
server.listen(3000);
