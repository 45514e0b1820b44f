/** Started under strace by faults.test.ts: one spawn as `games`; prints the outcome and how often a timer ran. */
import { reap, spawnProcess } from '../../../core/native.js';

const begun = performance.now();
let ticks = 0;
const timer = setInterval(() => (ticks += 1), 10);

const { pid } = spawnProcess(
  {
    file: '/bin/true',
    argv: ['true'],
    env: [],
    cwd: '/',
    identity: { uid: 5, gid: 60, groups: [60] },
    umask: 0o022,
    fds: [0, 1, 2],
    listenPid: false,
    deathSignal: 9,
    oomScoreAdj: undefined,
    mustRead: '',
  },
  (failure) => {
    const tookMs = Math.round(performance.now() - begun);
    clearInterval(timer);
    setTimeout(() => {
      process.stdout.write(
        JSON.stringify({ step: failure?.step, errno: failure?.errno, tookMs, ticks, ...reap(pid) }),
      );
    }, 300);
  },
);
