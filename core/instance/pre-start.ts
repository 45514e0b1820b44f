/**
 * Warms the apps of PassengerPreStart: asks each URL with HEAD through Apache itself, once after the start and once after
 * each reload, as a visitor would, since only Apache knows which app with which settings answers at a URL. Owned by
 * the core. It never follows a redirect, never leaves the machine, and what fails costs nothing but a line in the log.
 */
import http from 'node:http';
import https from 'node:https';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock, ClockTimer } from '../base/clock.js';
import { errorText } from '../base/errors.js';
import type { Log } from '../base/log.js';

/** URLs that are asked at the same time; each of them may start an app. */
const AT_ONCE = 4;
/** An app that takes longer to start goes on starting; only the waiting ends. */
const LONGEST_WAIT_MS = 120_000;
/** Nobody listens there, or there is no such address: Apache may listen at another one. */
const NOBODY = new Set(['ECONNREFUSED', 'EADDRNOTAVAIL', 'ENETUNREACH', 'EHOSTUNREACH', 'EAFNOSUPPORT']);

export class PreStart {
  #timer: ClockTimer | undefined;
  /** Of the last round; an older one asks no more URLs. */
  #round = 0;

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /** @param delayMs until Apache serves with the configuration that the URLs come from */
  run(urls: readonly string[], delayMs: number): void {
    this.stop();
    if (urls.length === 0) return;
    const round = this.#round;
    this.#timer = this.clock.setTimeout(() => {
      this.#timer = undefined;
      const left = [...urls];
      for (let worker = 0; worker < AT_ONCE; worker += 1) void this.#work(left, round);
    }, delayMs);
  }

  stop(): void {
    this.#round += 1;
    if (this.#timer !== undefined) this.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #work(left: string[], round: number): Promise<void> {
    for (let url = left.shift(); url !== undefined && this.#round === round; url = left.shift()) {
      await this.#warm(url);
    }
  }

  async #warm(url: string): Promise<void> {
    const began = this.clock.now();
    try {
      const status = await askHere(new URL(url));
      if (status >= 500) throw new Error(`status ${status}`);
      this.log.info('URL of PassengerPreStart answers', { url, status, tookMs: this.clock.now() - began });
    } catch (error) {
      this.log.report('PSG8003', { url, detail: errorText(error) });
    }
  }
}

/** All addresses of this machine, loopback first. */
function ownAddresses(): string[] {
  const others = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, scopeid }) => !internal && (scopeid ?? 0) === 0)
    .map(({ address }) => address);
  return ['127.0.0.1', '::1', ...others];
}

/** @returns the status of the answer */
async function askHere(url: URL): Promise<number> {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new Error('neither http nor https');
  let refused: unknown;
  for (const address of ownAddresses()) {
    try {
      return await askAt(address, url);
    } catch (error) {
      if (!NOBODY.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
      refused ??= error;
    }
  }
  throw refused;
}

function askAt(address: string, url: URL): Promise<number> {
  const secure = url.protocol === 'https:';
  const name = url.hostname.replace(/^\[|\]$/g, '');
  const options: https.RequestOptions = {
    method: 'HEAD',
    host: address,
    port: url.port === '' ? (secure ? 443 : 80) : url.port,
    path: `${url.pathname}${url.search}`,
    headers: { Host: url.host, 'User-Agent': 'Passenger-PreStart' },
    ...(url.username === '' ? {} : { auth: `${url.username}:${url.password}` }),
    agent: false,
    signal: AbortSignal.timeout(LONGEST_WAIT_MS),
  };
  // The connection stays on this machine, and what comes back is not used: whose certificate it is does not matter.
  const tls = { rejectUnauthorized: false, ...(isIP(name) === 0 ? { servername: name } : {}) };
  return new Promise((resolve, reject) => {
    const request = secure ? https.request({ ...options, ...tls }) : http.request(options);
    request.on('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on('error', reject);
    request.end();
  });
}
