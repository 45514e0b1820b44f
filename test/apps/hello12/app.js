// The smallest app: 12 bytes. Measured by test/bench/run.ts under every server alike.
const body = Buffer.from('hello world\n');
require('node:http')
  .createServer((req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 12 });
    res.end(body);
  })
  .listen(process.env.PORT ?? 3000, '127.0.0.1');
