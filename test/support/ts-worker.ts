/** Worker threads whose entry is TypeScript: the loader of tests is not inherited by threads. */
import { Worker, type WorkerOptions } from 'node:worker_threads';

const LOADER = `require('tsx/cjs'); require(require('node:worker_threads').workerData.entry);`;

/** @param workerData what the thread finds there; `entry` is added */
export function tsWorker(entry: string, workerData: object, options: WorkerOptions = {}): Worker {
  return new Worker(LOADER, { ...options, eval: true, workerData: { ...workerData, entry } });
}
