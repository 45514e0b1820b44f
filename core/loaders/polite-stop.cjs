'use strict';
/**
 * The `PhusionPassenger` global of the app and the polite end of the process. Used by preload.cjs only; whoever does
 * not end in time is killed from outside.
 */
const { EventEmitter } = require('node:events');

const SWEEP_MS = 100;

class PhusionPassenger extends EventEmitter {
  options = { autoInstall: true };
  shutting_down = false;
  _server = undefined;

  /** `configure({autoInstall: false})`: only `listen('passenger')` takes the socket. */
  configure(options) {
    Object.assign(this.options, options);
  }
}

/**
 * Asks the app to end, by the first of the ways that it has prepared for. The order is Passenger's, with SIGTERM
 * handlers added; an app that has prepared for nothing finishes its requests and exits.
 */
function stopPolitely(passenger) {
  if (passenger.shutting_down) return;
  passenger.shutting_down = true;
  if (passenger.listenerCount('exit') > 0) passenger.emit('exit');
  else if (process.listenerCount('message') > 0) process.emit('message', 'shutdown');
  else if (process.listenerCount('SIGTERM') > 0) process.kill(process.pid, 'SIGTERM');
  else finishAndExit(passenger._server);
}

function finishAndExit(server) {
  if (server === undefined || !server.listening) process.exit(0);
  server.close(() => process.exit(0));
  if (typeof server.closeIdleConnections !== 'function') return;
  // A connection that becomes idle after close() keeps the server open, as its keep-alive time is endless.
  server.closeIdleConnections();
  setInterval(() => server.closeIdleConnections(), SWEEP_MS);
}

module.exports = { PhusionPassenger, stopPolitely };
