/**
 * A million requests of all sizes on 64 connections, and the memory of the core: bounded under load, the same after
 * each round. See "Memory" in core/gateway/README.md for what it is made of. About three minutes.
 */
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { privateMb } from '../bench/cpu.js';
import { corePid, rule } from '../integration/kit.js';
import { load, type Steady } from './steady-load.js';

const SERVER = `ThreadLimit 64
ServerLimit 2
StartServers 2
ThreadsPerChild 64
MaxRequestWorkers 128
MinSpareThreads 1
MaxSpareThreads 128
MaxKeepAliveRequests 0
PassengerMaxPoolSize 2`;
const CONNECTIONS = 64;
const ROUNDS = 10;
/** Of one round: 100,000 requests. */
const MIX: readonly (Steady & { readonly count: number })[] = [
  { method: 'GET', path: '/', count: 85_000 },
  { method: 'GET', path: '/16k', count: 14_000 },
  { method: 'GET', path: '/1m', count: 500 },
  { method: 'POST', path: '/', body: Buffer.alloc(1_048_576, 'x'), count: 500 },
];
/** Rooms are given back after two to four seconds of rest. */
const REST_MS = 5_000;
/** 64 uploads of 1 MB at once: 32 MB in memory, the rest on its way to or from a file. */
const MOST_UNDER_LOAD_MB = 110;
const MOST_AT_REST_MB = 56;
const MAY_GROW_MB = 10;

rule(
  'a million requests, small, 16 KB, 1 MB down and up: the core stays as it was',
  { timeoutMs: 900_000 },
  async (scene) => {
    const { apache } = await scene.serve('bench', 'PassengerMinInstances 1', { server: SERVER });
    const core = corePid(apache);
    let most = 0;
    const watch = setInterval(() => (most = Math.max(most, privateMb(core))), 250);
    const rests: number[] = [];
    try {
      for (let round = 0; round < ROUNDS; round += 1) {
        for (const { count, ...what } of MIX) await load(apache.port, what, CONNECTIONS, count);
        await pause(REST_MS);
        rests.push(privateMb(core));
        process.stderr.write(
          `${(round + 1) / 10} million: at rest ${rests.at(-1)?.toFixed(1)} MB, most ${most.toFixed(1)} MB\n`,
        );
      }
    } finally {
      clearInterval(watch);
    }
    // Idle connections of 128 workers go with the children that had them.
    await apache.graceful();
    assert.ok(most < MOST_UNDER_LOAD_MB, `${most} MB under load`);
    assert.ok(Math.max(...rests) < MOST_AT_REST_MB, `at rest: ${rests.join(', ')}`);
    // The first rounds bring what grows once: code, caches, the holes of malloc.
    const early = Math.max(...rests.slice(0, 3));
    assert.ok(Math.max(...rests.slice(3)) < early + MAY_GROW_MB, `it grows: ${rests.join(', ')}`);
  },
);
