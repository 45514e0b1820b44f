/**
 * A pool with a fake clock, a fake spawner, files that the test writes, and the invariants checked after each change.
 */
import assert from 'node:assert/strict';
import type { PassengerError } from '../../../core/base/errors.js';
import { Log, LogThreshold } from '../../../core/base/log.js';
import { makeAppConfig, type AppConfig } from '../../../core/config/app-config.js';
import { settingsFrom, type AppSettings, type ServerSettings } from '../../../core/config/settings.js';
import type { AppGroup } from '../../../core/pool/app-group.js';
import { assertPool } from '../../../core/pool/invariants.js';
import type { MemoryQuestions } from '../../../core/pool/memory-watch.js';
import { Pool, type CheckoutOptions } from '../../../core/pool/pool.js';
import type { FileFacts, FileQuestions, RestartQuestion } from '../../../core/pool/restart-watch.js';
import type { Session } from '../../../core/pool/session.js';
import type { Ticket, Waiter } from '../../../core/pool/waiting-list.js';
import { AppRegistry } from '../../../core/routing/app-registry.js';
import { choose } from '../../../core/routing/choose.js';
import { FakeClock } from '../../support/fake-clock.js';
import { FakeSpawner } from '../../support/fake-spawner.js';

type Texts<S> = Readonly<Partial<Record<keyof S & string, string>>>;

export function serverSettings(texts: Texts<ServerSettings> = {}): ServerSettings {
  return settingsFrom('server', texts);
}

export function appConfig(name = 'shop', texts: Texts<AppSettings> = {}): AppConfig {
  const facts = {
    appRoot: `/srv/${name}`,
    baseUri: '/',
    documentRoot: `/srv/${name}/public`,
    found: 'node' as const,
    foundStartupFile: 'app.js',
    env: [],
  };
  return makeAppConfig(facts, settingsFrom('app', texts));
}

/** Files of restart directories, as the test writes them. */
export class FakeFiles implements FileQuestions {
  readonly #facts = new Map<string, FileFacts>();
  #time = 1n;
  looks = 0;
  /** Looks are not answered. */
  hang = false;
  fail = false;

  /** @param by nanoseconds that its time is set off from the one before; it may be older */
  touch(appRoot: string, question: RestartQuestion = 'restart.txt', by = 1n): void {
    this.#time += by;
    this.#facts.set(`${appRoot}:${question}`, { exists: true, mtimeNs: this.#time, inode: 7n });
  }

  remove(appRoot: string, question: RestartQuestion = 'restart.txt'): void {
    this.#facts.delete(`${appRoot}:${question}`);
  }

  stat(appRoot: string, question: RestartQuestion): Promise<FileFacts> {
    if (question === 'restart.txt') this.looks += 1;
    if (this.hang) return new Promise(() => undefined);
    if (this.fail) return Promise.reject(new Error('EIO'));
    const facts = this.#facts.get(`${appRoot}:${question}`) ?? { exists: false, mtimeNs: 0n, inode: 0n };
    return Promise.resolve(facts);
  }
}

/** What processes take, as the test says; 50 MB each unless it says otherwise. */
export class FakeMemory implements MemoryQuestions {
  readonly megabytes = new Map<number, number>();
  usual = 50;
  /** Pids that were asked for, look by look. */
  readonly looks: (readonly number[])[] = [];
  /** Nothing is known of anybody. */
  blind = false;

  measure(pids: readonly number[]): Promise<ReadonlyMap<number, number>> {
    this.looks.push(pids);
    if (this.blind) return Promise.resolve(new Map());
    const bytes = (pid: number): number => (this.megabytes.get(pid) ?? this.usual) * 2 ** 20;
    return Promise.resolve(new Map(pids.map((pid) => [pid, bytes(pid)])));
  }
}

/** A request: what became of its checkout. */
export class FakeRequest implements Waiter {
  session: Session | undefined;
  failure: PassengerError | undefined;
  ticket: Ticket | undefined;
  canceled = false;

  get state(): 'serving' | 'failed' | 'waiting' | 'canceled' {
    if (this.canceled) return 'canceled';
    if (this.failure !== undefined) return 'failed';
    return this.session === undefined ? 'waiting' : 'serving';
  }
  get pid(): number | undefined {
    return this.session?.process.pid;
  }

  onSession(session: Session): void {
    assert.equal(this.state, 'waiting', 'a waiter is told once, and not after it has canceled');
    this.session = session;
  }
  onFailure(error: PassengerError): void {
    assert.equal(this.state, 'waiting', 'a waiter is told once, and not after it has canceled');
    this.failure = error;
  }
  cancel(): void {
    this.canceled = true;
    this.ticket?.cancel();
  }
  close(): void {
    this.session?.close('ok');
  }
}

export class Bench {
  readonly clock = new FakeClock();
  readonly spawner = new FakeSpawner(this.clock);
  readonly files = new FakeFiles();
  readonly memory = new FakeMemory();
  readonly registry = new AppRegistry<AppGroup>(1);
  /** Lines of the log. */
  readonly lines: string[] = [];
  readonly pool: Pool;

  constructor(server: Texts<ServerSettings> = {}, { cores }: { readonly cores?: number } = {}) {
    this.pool = new Pool({
      spawner: this.spawner,
      files: this.files,
      memory: this.memory,
      registry: this.registry,
      choose,
      clock: this.clock,
      log: new Log(
        'pool',
        { write: (level, _room, text) => this.lines.push(`${level} ${text}`) },
        new LogThreshold(4),
      ),
      server: serverSettings(server),
      random: () => 0,
      ...(cores === undefined ? {} : { cores }),
      audit: assertPool,
    });
  }

  request(config: AppConfig, options?: CheckoutOptions): FakeRequest {
    const request = new FakeRequest();
    const answer = this.pool.checkout(config, request, options);
    if ('close' in answer) request.session = answer;
    else request.ticket = answer;
    assertPool(this.pool);
    return request;
  }

  /** Lets promise jobs run. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 30; turn += 1) await Promise.resolve();
    assertPool(this.pool);
  }

  async advance(ms: number, stepMs = Math.min(ms, 500)): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(stepMs, left));
      await this.settle();
    }
  }

  /** A request of a warm app. */
  async served(config: AppConfig, options?: CheckoutOptions): Promise<FakeRequest> {
    const request = this.request(config, options);
    await this.settle();
    assert.equal(request.state, 'serving', String(request.failure));
    return request;
  }

  group(config: AppConfig): AppGroup {
    const group = this.registry.find(config.groupKey);
    assert(group !== undefined, 'the group exists');
    return group;
  }

  logged(text: string): number {
    return this.lines.filter((line) => line.includes(text)).length;
  }
}
