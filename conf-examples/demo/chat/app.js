// A chat over a WebSocket, without packages. The page's style and script are in public/ and come from Apache itself.
// All who chat are in the memory of one process; with several processes one would pass the messages on between them.
const http = require('node:http');
const { acceptWebSocket } = require('./websocket.js');

/** Newcomers see so many messages. */
const MOST_REMEMBERED = 50;

const clients = new Set();
const remembered = [];

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Chat</title>
<link rel="stylesheet" href="/style.css">
<main>
  <h1>Chat</h1>
  <p id="status" role="status">Connecting …</p>
  <form id="form">
    <input id="text" maxlength="1000" required autofocus autocomplete="off" placeholder="Say something">
    <button>Send</button>
  </form>
  <ul id="messages" aria-live="polite"></ul>
  <p>Open this page twice. It connects again by itself after <code>touch tmp/restart.txt</code>.</p>
</main>
<script src="/chat.js"></script>
</html>
`;

function toAll(event) {
  const text = JSON.stringify(event);
  for (const client of clients) client.send(text);
}

function tellPeople() {
  toAll({ kind: 'people', count: clients.size, pid: process.pid });
}

function say(text) {
  const message = { kind: 'message', text, at: new Date().toISOString() };
  remembered.push(message);
  if (remembered.length > MOST_REMEMBERED) remembered.shift();
  toAll(message);
}

const server = http.createServer((request, response) => {
  if (request.url !== '/') return void response.writeHead(404).end('Not here.\n');
  return void response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page);
});

server.on('upgrade', (request, socket, head) => {
  const client = acceptWebSocket(request, socket, head);
  if (client === undefined) return;
  client.on('message', say);
  client.on('close', () => {
    clients.delete(client);
    tellPeople();
  });
  for (const message of remembered) client.send(JSON.stringify(message));
  clients.add(client);
  tellPeople();
});

server.listen(process.env.PORT ?? 3000);
