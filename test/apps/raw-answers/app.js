'use strict';
// Speaks HTTP by hand: answers a request for `/answer/NAME` with the bytes that answers.js has under this name, and any other
// with what it has received, byte for byte. A program on $PORT, because the loaders only know HTTP servers. `/seen` lists
// the request lines since it was asked last, so that a smuggled request shows.
const net = require('node:net');
const { ALL } = require('./answers.js');

const PAUSE_MS = 60;
let seen = [];

/** The first complete request of `text`, or undefined. Reads framing as the laxest of all servers would. */
function takeRequest(text) {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = text.slice(0, end);
  const rest = text.slice(end + 4);
  const length = Number(/^content-length:\s*(\d+)/im.exec(head)?.[1] ?? '0');
  if (/^transfer-encoding:/im.test(head)) {
    const last = rest.startsWith('0\r\n\r\n') ? 5 : rest.indexOf('\r\n0\r\n\r\n') + 7;
    return last < 7 && last !== 5 ? undefined : { head, body: rest.slice(0, last), rest: rest.slice(last) };
  }
  return rest.length < length ? undefined : { head, body: rest.slice(0, length), rest: rest.slice(length) };
}

function report(socket, { head, body }) {
  const text = JSON.stringify({ head, body });
  socket.write(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
}

function finish(socket, then) {
  if (then === 'close') socket.end();
  else if (then === 'reset') socket.resetAndDestroy();
}

function answer(socket, { bytes, then }) {
  const pieces = Array.isArray(bytes) ? bytes : [bytes];
  const next = (at) => {
    if (pieces[at] !== '') socket.write(pieces[at], 'latin1');
    if (at + 1 < pieces.length) setTimeout(next, PAUSE_MS, at + 1);
    else finish(socket, then);
  };
  next(0);
}

/** As much as the reader takes, for ever. */
function pour(socket, prefix) {
  const block = Buffer.alloc(65536, 'x');
  socket.write(prefix);
  const go = () => {
    while (socket.writable && socket.write(block));
  };
  socket.on('drain', go);
  go();
}

function serve(socket, request) {
  const line = request.head.split('\r\n', 1)[0];
  const path = line.split(' ')[1] ?? '';
  if (path === '/seen') {
    const text = JSON.stringify(seen);
    seen = [];
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
    return;
  }
  seen.push(line);
  if (path.startsWith('/good/')) socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`);
  else if (path === '/terabyte') pour(socket, 'HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n');
  else if (path === '/endless') pour(socket, 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n');
  else if (path.startsWith('/answer/')) answer(socket, ALL[path.slice(8)]);
  else report(socket, request);
}

net
  .createServer((socket) => {
    let text = '';
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      for (let request = takeRequest(text); request !== undefined; request = takeRequest(text)) {
        text = request.rest;
        serve(socket, request);
      }
    });
  })
  .listen(Number(process.env.PORT), '127.0.0.1');
