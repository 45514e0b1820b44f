/** What the supervisor's tests share: a driver that ends with its test, and a small app of the user `games`. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { Driver, makeApp, type DriverOptions } from './driver.js';

export const asRoot = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
export const GAMES = 5;
export const MAN = 6;

export async function serving(t: TestContext, options: DriverOptions = {}): Promise<Driver> {
  const driver = await Driver.serving(options);
  t.after(() => driver.end());
  return driver;
}

export const COMMAND = '/bin/sh ./app.sh';
export const allowed: DriverOptions = { privileged: [['PassengerAppStartCommand', COMMAND]] };
export const LOOP = 'echo up; while :; do sleep 1000; done\n';

export async function startApp(driver: Driver, id: number, script: string, uid = GAMES): Promise<number> {
  const appRoot = makeApp(driver.base, uid, 'app.sh', script);
  driver.spawn(id, { appRoot, startCommand: COMMAND });
  const pid = (await driver.told('SPAWNED', (m) => m['spawnId'] === id))['pid'];
  assert.equal(typeof pid, 'number');
  return pid as number;
}
