// An ES module with top-level await and a small form. Notes live in tmp/notes.json, written as the app's own user.
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';

const FILE = new URL('./tmp/notes.json', import.meta.url);
const MOST_NOTES = 20;
const LONGEST_FORM = 4096;

const notes = JSON.parse(await readFile(FILE, 'utf8').catch(() => '[]'));

const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

const page = () => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Notes</title>
<link rel="stylesheet" href="/style.css">
<main>
  <h1>Notes</h1>
  <form method="post" action="/">
    <input name="note" maxlength="200" required autofocus placeholder="Something to remember">
    <button>Add</button>
  </form>
  <ul>${notes.map((note) => `<li>${escaped(note)}</li>`).join('')}</ul>
  <p>Process ${process.pid}. Notes survive a restart: <code>touch tmp/restart.txt</code>.</p>
</main>
</html>
`;

async function readForm(request) {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk;
    if (text.length > LONGEST_FORM) return undefined;
  }
  return new URLSearchParams(text);
}

async function add(request, response) {
  const note = (await readForm(request))?.get('note')?.trim().slice(0, 200);
  if (!note) return response.writeHead(400).end('A note is needed.\n');
  notes.unshift(note);
  notes.length = Math.min(notes.length, MOST_NOTES);
  await writeFile(FILE, JSON.stringify(notes));
  return response.writeHead(303, { location: '/' }).end();
}

createServer((request, response) => {
  if (request.method === 'POST') return void add(request, response).catch((error) => response.destroy(error));
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page());
}).listen(process.env.PORT ?? 3000);
