/**
 * Stand-ins for process.stdout and process.stderr, put in place by importing this file before all others. Node makes a
 * pipe non-blocking as soon as somebody touches these streams: node:assert and winston do while they load, threads do
 * when they start. The pipe of Apache's error log is shared with Apache, whose own lines would be lost then when its
 * logger is slow. Nothing of ours prints; what a library prints still comes out.
 */
import { createWriteStream, type WriteStream } from 'node:fs';

function replace(name: 'stdout' | 'stderr', fd: number): void {
  let stream: WriteStream | undefined;
  const get = (): WriteStream => {
    stream ??= createWriteStream('', { fd, autoClose: false }).on('error', () => undefined);
    return stream;
  };
  Object.defineProperty(process, name, { configurable: true, enumerable: true, get });
}

replace('stdout', 1);
replace('stderr', 2);
