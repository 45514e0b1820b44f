/** One of the threads of books.test.ts: takes and gives back as fast as it can until both processes are closed. */
import { parentPort, workerData } from 'node:worker_threads';
import { GroupBook, ProcessBook } from '../../../core/pool/books.js';
import { choose } from '../../../core/routing/choose.js';

interface Start {
  readonly group: SharedArrayBuffer;
  readonly books: readonly SharedArrayBuffer[];
  readonly control: SharedArrayBuffer;
}

const { group, books, control } = workerData as Start;
const words = new Int32Array(control);
const groupBook = new GroupBook(group);
const processes = books.map((memory) => new ProcessBook(groupBook, memory));
let taken = 0;
let mostAtOnce = 0;
let takenAfterClose = 0;
let news = 0;

/** Takes from the process; the control word is an independent count of what is open. */
function use(process: ProcessBook, word: number): void {
  const ended = Atomics.load(words, 3) === 1;
  if (!process.take(0)) return;
  taken += 1;
  if (ended) takenAfterClose += 1;
  mostAtOnce = Math.max(mostAtOnce, Atomics.add(words, word, 1) + 1);
  for (let wait = taken % 64; wait > 0; wait -= 1) Atomics.load(words, word);
  Atomics.sub(words, word, 1);
  if (process.giveBack(0)) news += 1;
}

while (Atomics.load(words, 3) === 0) {
  for (let round = 0; round < 1000; round += 1) {
    const process = choose(processes);
    if (process !== undefined) use(process, processes.indexOf(process));
  }
}
for (const [index, process] of processes.entries()) use(process, index);
parentPort?.postMessage({ taken, mostAtOnce, takenAfterClose, news });
