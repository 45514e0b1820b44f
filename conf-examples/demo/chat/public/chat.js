// The page's side of the chat: connects, shows what comes, and connects again when the server was restarted.
const status = document.getElementById('status');
const form = document.getElementById('form');
const field = document.getElementById('text');
const messages = document.getElementById('messages');

const SHORTEST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;

let socket;
let pauseMs = SHORTEST_PAUSE_MS;

function show({ text, at }) {
  const item = document.createElement('li');
  const time = document.createElement('time');
  time.dateTime = at;
  time.textContent = new Date(at).toLocaleTimeString();
  item.append(time, ` ${text}`);
  messages.prepend(item);
}

function hear(event) {
  if (event.kind === 'message') show(event);
  if (event.kind === 'people') {
    status.textContent = `Connected to process ${event.pid}, ${event.count} here.`;
  }
}

function connect() {
  const url = new URL('/chat', location.href);
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  socket = new WebSocket(url);
  socket.onopen = () => {
    pauseMs = SHORTEST_PAUSE_MS;
    // The server tells what was said so far.
    messages.replaceChildren();
  };
  socket.onmessage = ({ data }) => hear(JSON.parse(data));
  // Also called when the connection could not be made. The pause grows, so that a server that is down has its rest.
  socket.onclose = () => {
    status.textContent = 'Not connected, trying again …';
    setTimeout(connect, pauseMs);
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
  };
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  if (socket.readyState !== WebSocket.OPEN) return;
  socket.send(field.value);
  field.value = '';
});

connect();
