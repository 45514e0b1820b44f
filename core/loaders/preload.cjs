'use strict';
/**
 * Runs inside each Node.js app before its startup file: `node --require preload.cjs <startup file>`. The app stays the
 * true main module. This file ties together the listening socket (descriptor 3), the control connection to the core
 * (descriptor 4) and the app. It does nothing in worker threads and in the app's own child processes, which inherit
 * `--require` but not LISTEN_PID. Built-in modules only: it is copied beside its neighbours into the runtime directory.
 */
const { isMainThread } = require('node:worker_threads');

const LISTEN_FD = 3;
const CONTROL_FD = 4;
const REPORT_MS = 2000;
const MAX_TEXT = 16 * 1024;

/** Facts for this process alone; nothing that it starts may take them for its own. */
const PRIVATE_ENV = [
  'LISTEN_PID',
  'LISTEN_FDS',
  'LISTEN_FDNAMES',
  'PASSENGER_APP_ROOT',
  'PASSENGER_APP_SOCKET',
];

if (isMainThread) {
  if (process.env.LISTEN_PID === String(process.pid)) prepareApp();
  else if (isClusterWorker()) require('./first-listen.cjs').installWorkerLooks();
}

function isClusterWorker() {
  return process.connected === true && require('node:cluster').isWorker;
}

function prepareApp() {
  const { ControlChannel } = require('./control-channel.cjs');
  const { installFirstListen } = require('./first-listen.cjs');
  const { PhusionPassenger, stopPolitely } = require('./polite-stop.cjs');

  const appRoot = process.env.PASSENGER_APP_ROOT ?? process.cwd();
  const socketPath = process.env.PASSENGER_APP_SOCKET ?? 'passenger';
  for (const name of PRIVATE_ENV) delete process.env[name];
  process.title = `Passenger NodeApp: ${appRoot}`;

  const passenger = new PhusionPassenger();
  provide(globalThis, 'PhusionPassenger', passenger);
  provideSend();

  const stop = () => stopPolitely(passenger);
  const control = new ControlChannel(
    CONTROL_FD,
    (message) => {
      if (message.type === 'shutdown') stop();
      if (message.type === 'state') control.send({ type: 'state', state: stateOf(passenger) });
    },
    stop,
  );
  control.send({ type: 'hello', pid: process.pid, node: process.version });
  control.send({ type: 'step', step: 'loading' });
  const failure = reportFailures(control);

  installFirstListen({ fd: LISTEN_FD, path: socketPath }, passenger.options, {
    onCall: () => control.send({ type: 'step', step: 'listening' }),
    onListening: (server) => {
      passenger._server = server;
      failure.cease();
      control.send({ type: 'ready', concurrency: 0 });
      reportRegularly(control);
    },
    onNote: (message) => control.send({ type: 'note', message }),
  });
}

/** For a core that takes the process over and does not know how far it is. */
function stateOf(passenger) {
  if (passenger.shutting_down) return 'stopping';
  return passenger._server === undefined ? 'starting' : 'ready';
}

/**
 * PM2's apps say `process.send('ready')` without looking whether anybody listens. It is accepted and adds nothing:
 * ready is whoever listens. A real IPC channel (the app was forked) stays as it is.
 */
function provideSend() {
  if (process.send !== undefined) return;
  provide(process, 'send', (_message, ...rest) => {
    const callback = rest.at(-1);
    if (typeof callback === 'function') process.nextTick(callback, null);
    return true;
  });
}

/** Tells the core why the app died while it started. A monitor sees exceptions and changes nothing about them. */
function reportFailures(control) {
  const monitor = (error) => {
    const known = typeof error === 'object' && error !== null;
    const message = String((known && error.message) || error).slice(0, MAX_TEXT);
    control.send({ type: 'failed', message, stack: String((known && error.stack) || '').slice(0, MAX_TEXT) });
  };
  process.on('uncaughtExceptionMonitor', monitor);
  return { cease: () => process.off('uncaughtExceptionMonitor', monitor) };
}

function reportRegularly(control) {
  let before = performance.eventLoopUtilization();
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization();
    const elu = performance.eventLoopUtilization(now, before).utilization;
    before = now;
    const { heapUsed, rss } = process.memoryUsage();
    control.sendIfIdle({ type: 'report', elu: Number(elu.toFixed(3)), heapUsed, rss });
  }, REPORT_MS);
  timer.unref();
}

function provide(object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, configurable: true, enumerable: false });
}
