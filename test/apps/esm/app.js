// An ES module with top-level await.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const own = await readFile(fileURLToPath(import.meta.url), 'utf8');
const server = createServer((req, res) => {
  res.end(JSON.stringify({ length: own.length, main: process.argv[1] === fileURLToPath(import.meta.url) }));
});
await new Promise((resolve) => server.listen(3000, resolve));
