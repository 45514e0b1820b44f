'use strict';
/**
 * Gives the app's first HTTP server the inherited listening socket, whatever arguments the app calls `listen` with.
 * Every other listen goes through as the app wrote it. Used by preload.cjs only.
 *
 * Rules:
 *  - `listen('passenger')`, `listen('/passenger')` and `listen({path: 'passenger'})` ask for the socket by name, for
 *    any kind of server. With `autoInstall: false` nothing else gets it.
 *  - Otherwise the first server that speaks plain HTTP/1.1 gets it: by class, or by having 'request' listeners.
 *  - A server with TLS or HTTP/2 of its own would not understand the core and is left alone, with a note to the core.
 *  - In the primary of `node:cluster` the internal server that distributes connections stands for the workers' first.
 */
const http = require('node:http');
const net = require('node:net');

const NAMES = new Set(['passenger', '/passenger']);
const LOOPBACK = /^(127\.[\d.]+|::1)$/;
/** Node would cut what the supervisor has given the socket to 511, less than a burst of new connections. */
const BACKLOG = 2048;
/** Node's default for http.Server.requestTimeout; another value was chosen by the app. */
const DEFAULT_REQUEST_TIMEOUT = 300_000;

/**
 * @param place `{fd, path}`: the listening socket and its path
 * @param options object whose `autoInstall` the app may change at any time
 * @param events `{onCall(server), onListening(server), onNote(sentence)}`
 */
function installFirstListen(place, options, events) {
  const originalListen = net.Server.prototype.listen;
  let taken = false;

  function redirect(server, args) {
    taken = true;
    try {
      prepareServer(server, place.path);
      events.onCall(server);
      const callback = args.findLast((arg) => typeof arg === 'function');
      const target = { fd: place.fd, ...signalOf(args[0]) };
      originalListen.apply(server, callback === undefined ? [target, BACKLOG] : [target, BACKLOG, callback]);
    } catch (error) {
      taken = false;
      throw error;
    }
    // Registered after the app's own callback: if that throws, the app is not ready.
    server.once('listening', () => events.onListening(server));
    return server;
  }

  net.Server.prototype.listen = function listen(...args) {
    if (asksByName(args[0])) {
      if (!taken) return redirect(this, args);
      throw new Error(
        "Passenger: a server of this process already listens on 'passenger'; there can be one only",
      );
    }
    if (taken) return listenElsewhere(originalListen, this, args);
    if (options.autoInstall !== false && (isPlainHttp(this) || isClusterDistributor(this)))
      return redirect(this, args);
    const note = noteFor(this);
    if (note !== undefined) events.onNote(note);
    return originalListen.apply(this, args);
  };
}

/**
 * A later listen, as the app wrote it. The exception is a copy of the first address: fastify repeats `address().port`
 * for each address of `localhost`, and as a path has no port, Node would open a random one that nobody asked for.
 * That server gets the error which such a copy has to expect anyway.
 */
function listenElsewhere(originalListen, server, args) {
  const [first] = args;
  const copied = typeof first === 'object' && first !== null && 'port' in first && first.port === undefined;
  if (!copied || !LOOPBACK.test(first.host) || !isPlainHttp(server))
    return originalListen.apply(server, args);
  const error = new Error('listen EADDRNOTAVAIL: the first address is a path and has no port to repeat');
  process.nextTick(() =>
    server.emit('error', Object.assign(error, { code: 'EADDRNOTAVAIL', syscall: 'listen' })),
  );
  return server;
}

/** For workers of `node:cluster`, which get their connections from the primary: the same looks, no redirection. */
function installWorkerLooks() {
  const originalListen = net.Server.prototype.listen;
  net.Server.prototype.listen = function listen(...args) {
    if (isPlainHttp(this)) prepareServer(this, 'passenger');
    return originalListen.apply(this, args);
  };
}

function asksByName(first) {
  if (typeof first === 'string') return NAMES.has(first);
  return typeof first === 'object' && first !== null && NAMES.has(first.path);
}

function signalOf(first) {
  return typeof first === 'object' && first !== null && first.signal !== undefined
    ? { signal: first.signal }
    : {};
}

// Kinds are told by what a server can do: TLS servers take contexts, HTTP/2 servers take settings.
const isTls = (server) => typeof server.setSecureContext === 'function';
const isHttp2 = (server) => typeof server.updateSettings === 'function';

function isPlainHttp(server) {
  if (isTls(server) || isHttp2(server)) return false;
  return server instanceof http.Server || server.listenerCount('request') > 0;
}

/** The round-robin server of cluster's primary is a bare net.Server whose connection listener must never run. */
function isClusterDistributor(server) {
  const listeners = server.listeners('connection');
  if (listeners.length !== 1 || listeners[0].name !== 'fail') return false;
  const cluster = require('node:cluster');
  return cluster.isPrimary && Object.keys(cluster.workers).length > 0;
}

function noteFor(server) {
  if (isHttp2(server))
    return 'the app listens with HTTP/2; behind Apache it needs a server made by http.createServer';
  if (isTls(server))
    return 'the app listens with HTTPS; TLS ends in Apache, so it needs a server made by http.createServer';
  if (!isPlainHttp(server)) return undefined;
  return "autoInstall is false and the app listens on an address of its own; one server must listen('passenger')";
}

function prepareServer(server, path) {
  // Node knows no path for an inherited descriptor and would answer null, which `address().port` does not survive.
  const originalAddress = server.address;
  define(server, 'address', function address() {
    return this.listening ? path : originalAddress.call(this);
  });
  // Closed, the server may listen again, somewhere else.
  server.once('close', () => delete server.address);
  if (!isPlainHttp(server)) return;
  leaveIdleConnectionsOpen(server);
  // An upload may take as long as Apache and the core allow; they guard against slow clients.
  if (server.requestTimeout === DEFAULT_REQUEST_TIMEOUT) server.requestTimeout = 0;
  server.prependListener('connection', lookLikeLoopback);
}

/**
 * Only the core closes idle connections: it alone knows whether it is about to use one. Values that an app sets are
 * meant for clients or balancers on a network and would only bring back the race that they cure there.
 */
function leaveIdleConnectionsOpen(server) {
  Object.defineProperty(server, 'keepAliveTimeout', {
    get: () => 0,
    set() {
      // See above: accepted without effect.
    },
    enumerable: true,
    configurable: true,
  });
}

/**
 * A Unix connection has no remote address. Frameworks then neither trust a local proxy (`trust proxy: loopback`) nor
 * key rate limits; "from this machine" is true, and what apps written for Passenger expect. The client's own address
 * stands in X-Forwarded-For.
 */
function lookLikeLoopback(socket) {
  if (socket.remoteAddress !== undefined) return;
  define(socket, 'remoteAddress', '127.0.0.1');
  define(socket, 'remotePort', 0);
  define(socket, 'remoteFamily', 'IPv4');
}

function define(object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, configurable: true, enumerable: false });
}

module.exports = { installFirstListen, installWorkerLooks };
