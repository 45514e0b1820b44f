/**
 * The Unix users of the tests. As root, `core/cli/setup.mjs --tests` makes psgapp1, psgapp2 and psgshell; without root
 * there is only the user who runs the tests, and what needs several users is skipped with a reason.
 */
import { readFileSync } from 'node:fs';

export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
}

export const IS_ROOT = process.getuid?.() === 0;

/** For node:test's `skip`: false as root, otherwise the reason. */
export const NEEDS_ROOT: string | false = IS_ROOT ? false : 'needs root: real users and groups';

/** @throws Error if the user does not exist. */
export function userNamed(name: string): User {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  if (line === undefined) throw new Error(`no user ${name}: please run \`npm run setup -- --tests\``);
  const [, , uid = '', gid = '', , home = '', shell = ''] = line.split(':');
  return { name, uid: Number(uid), gid: Number(gid), home, shell };
}

/** Numbers of the groups that name `user` as a member, without the primary one. */
export function supplementaryGroups(user: string): number[] {
  return readFileSync('/etc/group', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .filter(([, , , members = '']) => members.split(',').includes(user))
    .map(([, , gid = '']) => Number(gid));
}
