/**
 * `npm run simulate`: what the pool's decisions cost with 100, 1,000 and 10,000 apps, in a pool that serves everybody and in
 * one whose processes are all busy, so that apps starve; and what processes cost that nobody asks for.
 * Options: --groups, --requests.
 */
import { parseArgs } from 'node:util';
import { simulateCalm, simulateRare } from '../support/calm-simulation.js';
import { simulate, type SimulationResult } from '../support/pool-simulation.js';

const us = (value: number): string => value.toFixed(1).padStart(8);

function line(result: SimulationResult): string {
  const { checkout, close, restUs, idle } = result;
  return [
    String(result.groups).padStart(7),
    String(result.requests).padStart(9),
    String(result.starts).padStart(8),
    us(checkout.medianUs),
    us(checkout.p90Us),
    us(checkout.p99Us),
    us(close.medianUs),
    us(close.p99Us),
    us(restUs),
    idle === undefined
      ? ''
      : `${idle.groups} groups, ${idle.processes} processes, ${idle.timers} timers, ${idle.looks} looks in 200 s`,
  ].join('  ');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      groups: { type: 'string', default: '10000' },
      requests: { type: 'string', default: '1000000' },
    },
  });
  const most = Number(values.groups);
  const requests = Number(values.requests);
  const out = process.stdout;
  out.write(
    'times in microseconds: checkout median, p90 and p99, close median and p99, everything else per request\n',
  );
  out.write(
    ' groups   requests    starts  checkout       p90       p99     close       p99      rest  then idle\n',
  );
  // Once for the compiler.
  await simulate({ groups: 100, requests: 50_000, open: 50, seed: 1 });
  for (const [title, share] of [
    ['places for half of the apps, one request under way for four apps', 0.25],
    ['two requests under way for each app', 2],
  ] as const) {
    out.write(`${title}\n`);
    for (const groups of [most / 100, most / 10, most]) {
      const result = await simulate({
        groups,
        requests,
        open: Math.ceil(groups * share),
        seed: 1,
        rest: share < 1,
      });
      out.write(`${line(result)}\n`);
    }
  }
  out.write(
    'one process for each app and no requests; in each second: timers, looks, time of the pool, time to hear reports;\n' +
      'each time: news for threads, a request out of time\n',
  );
  for (const groups of [most / 100, most / 10, most]) {
    const { timers, looks, poolUs, reportsUs, groups: running } = await simulateCalm(groups);
    const { newsUs, overdueUs } = await simulateRare(groups);
    const numbers = [timers, looks, poolUs, reportsUs, newsUs, overdueUs].map(us).join('  ');
    out.write(`${String(running).padStart(7)}  ${numbers}\n`);
  }
}

void main();
