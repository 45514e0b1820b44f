'use strict';
const jsonServer = require('json-server');

const server = jsonServer.create();
server.use(jsonServer.bodyParser);
server.use(jsonServer.router({ posts: [{ id: 1, title: 'hello from json-server' }] }));
server.listen(3000, () => console.log('json-server is listening'));
