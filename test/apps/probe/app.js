'use strict';
// The probe: a plain node:http app that reports what an app process sees of its request, its identity and its
// descriptors, and that misbehaves on demand. Started by the application server like any customer's app: it
// knows nothing of this project. Every path is an endpoint of `ROUTES`; parameters come in the query string.
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');

const VERSION = readVersion();
const hangs = { last: { state: 'none' }, open: 0, poured: 0 };
const uploads = { last: { state: 'none' } };

function readVersion() {
  try {
    return fs.readFileSync(`${__dirname}/version.txt`, 'utf8').trim();
  } catch {
    return '1';
  }
}

function json(res, value, status = 200) {
  const body = Buffer.from(`${JSON.stringify(value, null, 1)}\n`);
  res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': body.length });
  res.end(body);
}

function text(res, value, status = 200) {
  const body = Buffer.from(value);
  res.writeHead(status, { 'Content-Type': 'text/plain', 'Content-Length': body.length });
  res.end(body);
}

function facts() {
  const status = fs.readFileSync('/proc/self/status', 'utf8');
  const proc = {};
  for (const line of status.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) proc[line.slice(0, colon)] = line.slice(colon + 1).trim().replace(/\s+/g, ' ');
  }
  const fds = {};
  for (const fd of fs.readdirSync('/proc/self/fd')) {
    try {
      fds[fd] = fs.readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // The descriptor of the directory listing itself is closed by now.
    }
  }
  // Fields behind the command's closing bracket: state ppid pgrp session …
  const stat = fs.readFileSync('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return {
    proc,
    fds,
    umask: process.umask().toString(8).padStart(4, '0'),
    cwd: process.cwd(),
    argv: process.argv,
    execArgv: process.execArgv,
    title: process.title,
    cmdline: fs.readFileSync('/proc/self/cmdline', 'latin1').split('\0'),
    pid: process.pid,
    ppid: Number(fields[1]),
    pgid: Number(fields[2]),
    sid: Number(fields[3]),
    isMain: require.main === module,
    limits: fs.readFileSync('/proc/self/limits', 'utf8'),
  };
}

/** Writes `total` bytes as fast as the reader takes them. */
function pour(res, total, done) {
  const block = Buffer.alloc(65536, 'abcdefghijklmnopqrstuvwxyz012345');
  let left = total;
  const go = () => {
    while (left > 0) {
      const part = left >= block.length ? block : block.subarray(0, left);
      left -= part.length;
      hangs.poured += part.length;
      if (!res.write(part)) {
        res.once('drain', go);
        return;
      }
    }
    done();
  };
  go();
}

/** Tells under /aborted what became of the request. */
function watch(req, res) {
  const begun = performance.now();
  const id = req.headers['x-hang-id'] ?? '';
  hangs.open += 1;
  hangs.last = { state: 'hanging', id };
  res.on('close', () => {
    hangs.open -= 1;
    if (!res.writableFinished) hangs.last = { state: 'aborted', id, afterMs: performance.now() - begun };
  });
}

const ROUTES = {
  '/': (req, res) => text(res, 'hello, probe'),
  '/version': (req, res) => text(res, VERSION),
  '/pid': (req, res) => text(res, String(process.pid)),
  '/headers': (req, res) => json(res, { headers: req.headers, raw: req.rawHeaders, method: req.method }),
  '/url': (req, res) => json(res, { url: req.url, raw: req.rawHeaders, httpVersion: req.httpVersion, method: req.method }),
  '/env': (req, res) => json(res, process.env),
  '/status': (req, res) => json(res, facts()),
  '/read-file': (req, res, q) => {
    try {
      text(res, fs.readFileSync(q.get('path'), 'utf8'));
    } catch (error) {
      text(res, error.code, 403);
    }
  },
  '/connect-unix': (req, res, q) => {
    const socket = require('node:net').connect(q.get('path'));
    socket.once('connect', () => (socket.destroy(), text(res, 'connected')));
    socket.once('error', (error) => text(res, error.code));
  },
  '/address': (req, res) => json(res, { address: server.address() }),
  '/echo': (req, res) => {
    const head = { 'Content-Type': 'application/octet-stream' };
    if (req.headers['content-length'] !== undefined) head['Content-Length'] = req.headers['content-length'];
    res.writeHead(200, head);
    res.flushHeaders();
    req.pipe(res);
  },
  '/sha': (req, res) => {
    const hash = crypto.createHash('sha256');
    let length = 0;
    req.on('data', (part) => ((length += part.length), hash.update(part)));
    req.on('end', () =>
      json(res, {
        length,
        sha256: hash.digest('hex'),
        method: req.method,
        contentLength: req.headers['content-length'] ?? null,
        transferEncoding: req.headers['transfer-encoding'] ?? null,
        trailers: req.trailers,
      }),
    );
  },
  '/size': (req, res, q) => {
    const total = Number(q.get('n'));
    res.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': total });
    if (req.method === 'HEAD') res.end();
    else pour(res, total, () => res.end());
  },
  '/chunked': (req, res, q) => {
    res.writeHead(200, { 'Content-Type': 'text/plain' });
    pour(res, Number(q.get('n')), () => res.end());
  },
  '/compressible': (req, res, q) => text(res, 'a line that compresses well\n'.repeat(Number(q.get('n') ?? 100))),
  '/slow': (req, res, q) => setTimeout(() => text(res, `slow ${process.pid} ${VERSION}`), Number(q.get('ms'))),
  '/drip': (req, res, q) => {
    const total = Number(q.get('n'));
    let sent = 0;
    res.writeHead(200, { 'Content-Type': 'text/plain' });
    const timer = setInterval(() => {
      res.write(`drop ${sent}\n`);
      sent += 1;
      if (sent < total) return;
      clearInterval(timer);
      res.end();
    }, Number(q.get('ms')));
    res.on('close', () => clearInterval(timer));
  },
  '/status-code': (req, res, q) => {
    res.statusCode = Number(q.get('code'));
    if (q.has('reason')) res.statusMessage = q.get('reason');
    if (q.has('header')) res.setHeader(q.get('header'), q.get('value') ?? '');
    res.setHeader('Content-Type', 'text/plain');
    res.end(`answer ${q.get('code')} of the app\n`);
  },
  '/set-cookies': (req, res) => {
    res.writeHead(200, [
      ['Set-Cookie', 'a=1; Path=/'],
      ['Set-Cookie', 'b=2; HttpOnly'],
      ['X-One', '1'],
      ['X-Two', '2'],
      ['Content-Type', 'text/plain'],
    ].flat());
    res.end('cookies\n');
  },
  '/hop-by-hop': (req, res) => {
    res.writeHead(200, { Connection: 'X-Secret', 'X-Secret': 'for the next hop only', 'Keep-Alive': 'timeout=99', 'X-Public': 'yes' });
    res.end('hop\n');
  },
  // Answers without ever reading the body.
  '/early': (req, res, q) => {
    uploads.last = { state: 'answered' };
    req.on('aborted', () => (uploads.last.state = 'aborted'));
    res.writeHead(Number(q.get('code') ?? 413), { 'Content-Type': 'text/plain' });
    res.end('too early\n');
  },
  // Streams until the other side ends, telling the first byte's arrival at once: proof of full duplex.
  '/duplex': (req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/plain' });
    res.flushHeaders();
    req.on('data', (part) => res.write(`got ${part.length}\n`));
    req.on('end', () => res.end('bye\n'));
  },
  '/upload-watch': (req, res) => {
    let length = 0;
    uploads.last = { state: 'receiving', length };
    req.on('data', (part) => (uploads.last.length = length += part.length));
    req.on('end', () => ((uploads.last.state = 'complete'), text(res, String(length))));
    req.on('aborted', () => (uploads.last.state = 'aborted'));
  },
  '/upload-state': (req, res) => json(res, uploads.last),
  '/never-read': (req) => {
    req.pause();
    uploads.last = { state: 'receiving', length: 0 };
  },
  '/die-before-head': () => process.kill(process.pid, 'SIGKILL'),
  '/close-before-head': (req) => req.socket.destroy(),
  '/garbage-head': (req) => req.socket.end('HTTP/9.9 what is this\r\n\r\n'),
  '/raw': (req, res, q) => req.socket.end(Buffer.from(q.get('hex'), 'hex')),
  // mode=chunked|length; how=exit (the process dies) or close (only the connection).
  '/die-mid-body': (req, res, q) => {
    const head = { 'Content-Type': 'text/plain' };
    if (q.get('mode') === 'length') head['Content-Length'] = 1000;
    res.writeHead(200, head);
    res.write('only the first part');
    setTimeout(() => {
      if (q.get('how') === 'close') req.socket.destroy();
      else process.kill(process.pid, 'SIGKILL');
    }, Number(q.get('ms') ?? 50));
  },
  '/interim': (req, res) => {
    res.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' }, () => text(res, 'after 103'));
  },
  '/no-body/204': (req, res) => (res.writeHead(204, { 'X-Probe': 'no content' }), res.end()),
  '/no-body/304': (req, res) => (res.writeHead(304, { ETag: '"probe"' }), res.end()),
  '/sse': (req, res, q) => {
    const total = Number(q.get('n') ?? 3);
    let sent = 0;
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    const timer = setInterval(() => {
      res.write(`data: event ${sent}\n\n`);
      sent += 1;
      if (sent < total) return;
      clearInterval(timer);
      if (!q.has('open')) res.end();
    }, Number(q.get('ms') ?? 100));
    res.on('close', () => clearInterval(timer));
  },
  '/hang': (req, res) => watch(req, res),
  // As fast as it is taken, watched like /hang.
  '/pour': (req, res, q) => {
    watch(req, res);
    res.writeHead(200, { 'Content-Type': 'application/octet-stream' });
    pour(res, Number(q.get('n')), () => res.end());
  },
  '/aborted': (req, res) => json(res, { ...hangs.last, open: hangs.open, poured: hangs.poured }),
  '/spin': (req, res, q) => {
    const end = performance.now() + Number(q.get('ms') ?? 1000);
    while (performance.now() < end);
    text(res, 'dizzy');
  },
  // Always the same work, however long the machine takes for it.
  '/work': (req, res, q) => text(res, crypto.pbkdf2Sync('work', 'salt', Number(q.get('n') ?? 20_000), 32, 'sha256').toString('hex')),
  '/crash': () => {
    setImmediate(() => {
      throw new Error('the probe was told to crash');
    });
  },
  '/exit': (req, res, q) => {
    text(res, 'going');
    res.on('finish', () => setTimeout(() => process.exit(Number(q.get('code') ?? 0)), 20));
  },
  // Takes no connections any more, and lives on.
  '/stop-listening': (req, res) => {
    text(res, 'deaf');
    res.on('finish', () => server.close());
    setInterval(() => undefined, 1000);
  },
  '/log': (req, res, q) => {
    process.stdout.write(`${q.get('line')} on stdout\n`);
    process.stderr.write(`${q.get('line')} on stderr\n`);
    text(res, 'logged');
  },
  // Answers when all output is in the pipe.
  '/flushed': (req, res) => process.stdout.write('', () => text(res, 'flushed')),
  // Any bytes, as hexadecimal digits.
  '/write': (req, res, q) => {
    process.stdout.write(Buffer.from(q.get('hex'), 'hex'));
    text(res, 'written');
  },
  '/flood': (req, res, q) => {
    const pad = 'x'.repeat(Number(q.get('pad') ?? 0));
    for (let n = 1; n <= Number(q.get('lines')); n += 1) process.stdout.write(`flood ${n}${pad}\n`);
    if (q.get('then') === 'crash') throw new Error('died behind a flood');
    text(res, 'flooded');
  },
  '/close-output': (req, res) => {
    fs.closeSync(1);
    fs.closeSync(2);
    text(res, 'silent from here');
  },
  '/memory': (req, res) => json(res, process.memoryUsage()),
  '/global': (req, res) => json(res, { type: typeof PhusionPassenger, nodeEnv: process.env.NODE_ENV }),
};

const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://probe');
  const base = process.env.PASSENGER_BASE_URI ?? '';
  const path = base !== '' && url.pathname.startsWith(base) ? url.pathname.slice(base.length) || '/' : url.pathname;
  const route = ROUTES[path];
  if (route !== undefined) route(req, res, url.searchParams);
  else if (path.startsWith('/any/')) json(res, { url: req.url, method: req.method, headers: req.headers, raw: req.rawHeaders });
  else text(res, `the probe knows no ${path}\n`, 404);
});
process.stdout.write(`probe ${VERSION} starts\n`);
server.listen(process.env.PORT ?? 3000);
