'use strict';
// Polling and WebSocket; says back what it hears.
const { createServer } = require('node:http');
const { Server } = require('socket.io');

const server = createServer((req, res) => res.end('hello from socket.io'));
const io = new Server(server);
io.on('connection', (socket) => {
  socket.emit('welcome', { pid: process.pid, address: socket.handshake.address });
  socket.on('say', (text, reply) => reply(`heard ${text}`));
});
server.listen(3000);
