'use strict';
const http = require('node:http');
const sockjs = require('sockjs');

const echo = sockjs.createServer({ log: () => undefined });
echo.on('connection', (connection) => {
  connection.write(`from ${connection.remoteAddress}`);
  connection.on('data', (message) => connection.write(message));
});
const server = http.createServer((req, res) => res.end('hello from sockjs'));
echo.installHandlers(server, { prefix: '/sockjs' });
server.listen(9999, '0.0.0.0');
