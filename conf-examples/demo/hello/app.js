// A Node app as one writes it without any server in mind: plain node:http, some port, no packages.
// Passenger starts it, gives it a socket instead of the port, and serves everything in public/ through Apache itself.
const http = require('node:http');
const os = require('node:os');

const started = new Date();
let requests = 0;

const page = (request) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Hello</title>
<link rel="stylesheet" href="/style.css">
<main>
  <img src="/logo.svg" alt="" width="64" height="64">
  <h1>Hello from Node.js inside Apache</h1>
  <p>This page comes from the app, its style sheet and picture from Apache.</p>
  <dl>
    <dt>Process</dt><dd>${process.pid}, running as ${os.userInfo().username}, Node.js ${process.version}</dd>
    <dt>Started</dt><dd>${started.toISOString()}</dd>
    <dt>Requests so far</dt><dd>${requests}</dd>
    <dt>Host asked for</dt><dd>${String(request.headers.host).replace(/[<>&"]/g, '')}</dd>
  </dl>
</main>
</html>
`;

http
  .createServer((request, response) => {
    requests += 1;
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(page(request));
  })
  .listen(3000);
