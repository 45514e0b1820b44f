// The smallest fixture: a CommonJS app on plain node:http.
const http = require('node:http');

http
  .createServer((request, response) => {
    response.setHeader('content-type', 'text/plain');
    response.end(`hello from ${request.url}\n`);
  })
  .listen(3000);
