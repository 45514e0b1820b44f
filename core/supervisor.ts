/**
 * Entry of the supervisor, started by Apache's parent: descriptor 1 and 2 the error log, 3 the control socket. Everything
 * else comes in the CONFIG message. Loads all of its code now; nothing is required later.
 */
import './base/plain-stdio.js';
import fs from 'node:fs';
import { FdSink } from './base/fd-sink.js';
import { Log, LogThreshold } from './base/log.js';
import { errorText } from './base/errors.js';
import { loadNative } from './native.js';
import { LIMITS } from './supervisor/core-process.js';
import { STOP_SIGNALS, Supervisor } from './supervisor/lifecycle.js';

const CONTROL_FD = 3;

function main(): void {
  process.title = 'Passenger supervisor';
  const log = new Log('supervisor', new FdSink(2), new LogThreshold());
  try {
    loadNative();
    if (!fs.fstatSync(CONTROL_FD).isSocket()) throw new Error('descriptor 3 is no socket');
  } catch (error) {
    log.report('PSG7019', { why: errorText(error) });
    process.exit(1);
  }
  const supervisor = new Supervisor(CONTROL_FD, (code) => process.exit(code));
  process.on('uncaughtException', (error) => supervisor.crashed(error));
  process.on('exit', () => supervisor.finishLog());
  process.on('SIGCHLD', () => supervisor.childEnded());
  for (const signal of STOP_SIGNALS) process.on(signal, () => supervisor.stop(signal));
  process.on('SIGHUP', () => undefined);
  // Keeps the process alive, also while it waits for its last children.
  setInterval(() => supervisor.tick(), LIMITS.tickMs);
}

main();
