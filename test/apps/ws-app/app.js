'use strict';
// `new WebSocketServer({port})` makes an HTTP server of its own.
const { WebSocketServer } = require('ws');

const server = new WebSocketServer({ port: 8080 });
server.on('connection', (socket) => {
  socket.on('message', (data, binary) => {
    if (!binary && data.toString() === 'close') socket.close(4001, 'as you wish');
    else socket.send(data, { binary });
  });
});
