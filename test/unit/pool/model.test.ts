/**
 * Random lives of a pool: requests, cancels, exits, restarts, reloads, worn processes, failing starts and time, in any order. The
 * invariants are checked after each change; here also what no single change shows: every request is told exactly
 * once, within its limit; nothing is left over at the end. A failure names its seed: SEED=n repeats it alone, SEEDS=n runs more of them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AppConfig } from '../../../core/config/app-config.js';
import { appConfig, Bench, serverSettings, type FakeRequest } from './pool-fixture.js';

const STEPS = 250;
const only = process.env['SEED'];
const seeds =
  only === undefined
    ? Array.from({ length: Number(process.env['SEEDS'] ?? 40) }, (_, index) => index + 1)
    : [Number(only)];

/** A small generator of numbers from 0 up to 1 that gives the same ones for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed * 2_654_435_761;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2_246_822_519) + 0x9e3779b9) >>> 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}

class Life {
  readonly random: () => number;
  readonly bench: Bench;
  readonly apps: AppConfig[];
  readonly requests: FakeRequest[] = [];
  readonly #throttle: string;
  /** Sticky ids that clients have got, also of processes that have gone. */
  readonly #ids: string[] = ['never-given'];
  #generation = 1;

  constructor(seed: number) {
    this.random = randomFrom(seed);
    this.#throttle = this.pick(['0', '1', '10']);
    this.bench = new Bench(this.#server(), { cores: 3 });
    this.apps = ['a', 'b', 'c'].map((name) => this.#app(name));
  }

  #app(name: string): AppConfig {
    const text = (...choices: string[]): string => this.pick(choices);
    return appConfig(name, {
      minInstances: text('0', '1', '2'),
      maxInstances: text('0', '1', '3'),
      forceMaxConcurrentRequestsPerProcess: text('-1', '0', '1', '3'),
      maxRequestQueueSize: text('0', '3', '100'),
      redeployOnReload: text('on', 'off'),
      drainTimeout: text('5', '60'),
      rollingRestarts: text('on', 'off'),
      maxRequests: text('0', '1', '5', '20'),
      resistDeploymentErrors: text('on', 'off', 'off'),
      memoryLimit: text('0', '200'),
      hardMemoryLimit: text('0', '400'),
    });
  }

  pick<T>(choices: readonly T[]): T {
    assert(choices.length > 0);
    // Undefined may be one of the choices.
    return choices[Math.floor(this.random() * choices.length)] as T;
  }

  #server(): Record<string, string> {
    return {
      maxPoolSize: this.pick(['1', '2', '3', '6']),
      maxWaitingRequests: this.pick(['0', '4', '5000']),
      poolIdleTime: this.pick(['0', '5', '60']),
      statThrottleRate: this.#throttle,
    };
  }

  #of(state: FakeRequest['state']): FakeRequest | undefined {
    const those = this.requests.filter((request) => request.state === state);
    return those.length === 0 ? undefined : this.pick(those);
  }

  /** Of event loops; some do not answer. */
  #reportLoads(): void {
    const elu = this.pick([0, 0.5, 1]);
    for (const process of this.bench.spawner.alive) if (this.random() < 0.8) process.report({ elu });
  }

  /** Half of the requests belong to a process, by one of the last ids or by a session. */
  #sticky(): { sticky?: { ids: string[]; session?: string } } {
    const dice = this.random();
    if (dice < 0.5) return {};
    const ids = [this.pick(this.#ids.slice(-2)), this.pick(this.#ids)];
    if (dice < 0.75) return { sticky: { ids } };
    return { sticky: { ids: dice < 0.8 ? ids : [], session: this.pick(['s1', 's2', 's3']) } };
  }

  #finish(request: FakeRequest | undefined): void {
    if (request === undefined) return;
    request.close();
    this.requests.splice(this.requests.indexOf(request), 1);
  }

  #wear(app: AppConfig): void {
    const group = this.bench.registry.find(app.groupKey);
    const processes = [...(group?.members ?? [])];
    if (processes.length > 0) group?.replace(this.pick(processes), 'model');
  }

  async step(): Promise<void> {
    const { bench, random } = this;
    const { knobs } = bench.spawner;
    const app = this.pick(this.apps);
    const dice = random();
    if (dice < 0.34) {
      const generation = this.pick([undefined, this.#generation, Math.max(1, this.#generation - 1)]);
      const options = generation === undefined ? {} : { generation };
      const maxQueueTimeMs = this.pick([0, 500, 5000]);
      this.requests.push(bench.request(app, { ...options, ...this.#sticky(), maxQueueTimeMs }));
    } else if (dice < 0.58) {
      const serving = this.#of('serving');
      if (serving?.session !== undefined) this.#ids.push(serving.session.stickyId);
      this.#finish(serving);
    } else if (dice < 0.64) {
      this.#of('waiting')?.cancel();
    } else if (dice < 0.68) {
      if (bench.spawner.alive.length > 0) this.pick(bench.spawner.alive).exit();
    } else if (dice < 0.71) {
      bench.files.touch(app.appRoot, this.pick(['restart.txt', 'restart.txt', 'always_restart.txt']));
    } else if (dice < 0.73) {
      bench.files.remove(app.appRoot, 'always_restart.txt');
    } else if (dice < 0.75) {
      bench.pool.restart(app.groupKey, 'model');
    } else if (dice < 0.76) {
      this.#wear(app);
    } else if (dice < 0.78) {
      this.#generation += 1;
      if (random() < 0.5)
        this.apps.splice(this.apps.indexOf(app), 1, this.#app(app.appRoot.slice('/srv/'.length)));
      bench.pool.reload(serverSettings(this.#server()), this.#generation);
    } else if (dice < 0.8) {
      const session = this.#of('serving')?.session;
      if (session !== undefined) bench.pool.reportConnectFailure(session);
    } else if (dice < 0.805) {
      const session = this.#of('serving')?.session;
      if (session !== undefined) bench.pool.reportOverdue(session, this.pick(['silence', 'time'] as const));
    } else if (dice < 0.815) {
      const process = bench.spawner.alive.length > 0 ? this.pick(bench.spawner.alive) : undefined;
      if (process !== undefined) bench.memory.megabytes.set(process.pid, this.pick([50, 250, 450]));
    } else if (dice < 0.82) {
      knobs.failAt = this.pick([undefined, undefined, 'loading']);
    } else if (dice < 0.85) {
      knobs.delayMs = this.pick([0, 100, 3000]);
      knobs.exitDelayMs = this.pick([0, 200, Infinity]);
      bench.files.hang = random() < 0.1;
      bench.files.fail = random() < 0.1;
    } else {
      if (random() < 0.5) this.#reportLoads();
      await bench.advance(this.pick([1, 50, 400, 2500, 20_000]), 250);
    }
    if (random() < 0.7) await bench.settle();
  }

  /** Everything calms down: who waits is told, and what is left is what the settings say. */
  async end(): Promise<void> {
    const { bench } = this;
    Object.assign(bench.spawner.knobs, { failAt: undefined, delayMs: 0, exitDelayMs: 0 });
    bench.files.hang = bench.files.fail = false;
    for (const app of this.apps) bench.files.remove(app.appRoot, 'always_restart.txt');
    for (let round = 0; round < 200 && this.requests.length > 0; round += 1) {
      for (const request of [...this.requests]) if (request.state !== 'waiting') this.#finish(request);
      await bench.advance(1000, 500);
    }
    assert.equal(this.requests.length, 0, 'every request has been told');
    for (const process of bench.pool.snapshot().groups.flatMap((group) => group.processes)) {
      assert.equal(process.sessions, 0, 'no session is lost');
    }
    await bench.advance(40_000, 500);
    for (const group of bench.pool.groups()) {
      const replaced = group.deployment === 'settled' || group.deployment === 'resisting';
      assert(replaced, 'what was worn is replaced, unless its code is resisted');
    }
    let stopped = false;
    void bench.pool.stop(10_000).then(() => (stopped = true));
    await bench.advance(11_000, 500);
    assert(stopped, 'the pool stops');
    assert.deepEqual(bench.spawner.alive, [], 'no process is left');
    assert.equal(bench.pool.capacityUsed, 0);
    assert.equal(bench.clock.pending, 0, 'no timer is left');
  }
}

for (const seed of seeds) {
  test(`the rules hold in a random life, seed ${seed}`, async () => {
    const life = new Life(seed);
    try {
      for (let step = 0; step < STEPS; step += 1) await life.step();
      await life.end();
    } catch (error) {
      throw new Error(`SEED=${seed}: ${error instanceof Error ? error.stack : String(error)}`, {
        cause: error,
      });
    }
  });
}
