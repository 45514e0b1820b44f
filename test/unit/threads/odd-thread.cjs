/**
 * A gateway thread that listens and then does what its log level says: 1 goes on, 2 freezes, 3 throws, 4 ends. Its first
 * counter counts its beats, the second says that it freezes.
 */
const { parentPort, workerData } = require('node:worker_threads');

const pulse = new Float64Array(workerData.pulse);
const beat = () => {
  pulse[0] += 1;
  pulse[1] += 1;
};

parentPort.on('message', (message) => {
  if (message.kind === 'stop') parentPort.postMessage({ kind: 'stopped' });
  if (message.kind !== 'listen') return;
  setInterval(beat, 5);
  beat();
  parentPort.postMessage({ kind: 'log', level: 'notice', room: 'gateway', text: `listens on ${message.fd}` });
  parentPort.postMessage({ kind: 'listening' });
  if (workerData.server.logLevel === 2)
    setTimeout(() => {
      pulse[2] = 1;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5000);
    }, 20);
  if (workerData.server.logLevel === 3)
    setTimeout(() => {
      throw new Error('broken');
    }, 20);
  if (workerData.server.logLevel === 4) setTimeout(() => process.exit(0), 20);
});
