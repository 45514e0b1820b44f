/** Unix accounts for the demo, from /etc/passwd. */
import { readFileSync } from 'node:fs';
import type { Account } from './private-apache.js';

interface NamedAccount extends Account {
  readonly name: string;
}

function accounts(): NamedAccount[] {
  return readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .filter((line) => line.includes(':'))
    .map((line) => {
      const [name = '', , uid, gid] = line.split(':');
      return { name, uid: Number(uid), gid: Number(gid) };
    });
}

/** @throws Error if there is none of this name. */
export function accountNamed(name: string): Account {
  const account = accounts().find((entry) => entry.name === name);
  if (account === undefined) throw new Error(`this machine has no user ${name}`);
  return account;
}

/** Owners for `count` example apps: the tests' users, then ordinary people, and nobody where these do not suffice. */
export function appOwners(count: number): Account[] {
  const all = accounts();
  const tests = all.filter(({ name }) => /^psgapp\d$/.test(name));
  const people = all.filter(({ uid }) => uid >= 1000 && uid < 60_000);
  const chosen: Account[] = [...tests, ...people].slice(0, count);
  while (chosen.length < count) chosen.push(accountNamed('nobody'));
  return chosen;
}
