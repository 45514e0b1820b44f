/**
 * Which user and group an app runs as: a pure decision from facts that account-facts.ts has collected. The rules are
 * Passenger's (user switching), except that an explicit user or group that does not exist is an error and not a
 * silent default. uid 0 and gid 0 are never the result.
 */
import { PassengerError } from '../base/errors.js';
import type { GroupFacts, UserFacts } from '../native.js';

/** What PassengerGroup may say instead of a name: the group of the reference file. */
export const GROUP_OF_STARTUP_FILE = '!STARTUP_FILE!';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** A name from the configuration (empty: not set) and what the system knows by it. */
export interface Named<T> {
  readonly name: string;
  readonly found: T | undefined;
}

export interface IdentityFacts {
  readonly userSwitching: boolean;
  readonly user: Named<UserFacts>;
  readonly group: Named<GroupFacts>;
  readonly defaultUser: Named<UserFacts>;
  /** Empty name: the default user's primary group. */
  readonly defaultGroup: Named<GroupFacts>;
  /** Of the reference file: the startup file, or the app root where there is none. */
  readonly reference: Owner;
  /** The account of the reference file's owner. */
  readonly owner: UserFacts | undefined;
  readonly appRoot: Owner;
  readonly coreUid: number;
}

export interface ChosenIdentity {
  readonly user: UserFacts;
  readonly gid: number;
}

function unknownUser(directive: string, name: string): PassengerError {
  return new PassengerError('PSG7010', { directive, user: name });
}

function unknownGroup(directive: string, name: string): PassengerError {
  return new PassengerError('PSG7011', { directive, group: name });
}

function rootRefused(what: string): PassengerError {
  return new PassengerError('PSG7012', { what });
}

function defaultUser(facts: IdentityFacts): UserFacts {
  const { name, found } = facts.defaultUser;
  if (found === undefined) throw unknownUser('PassengerDefaultUser', name);
  if (found.uid === 0) throw rootRefused('PassengerDefaultUser');
  return found;
}

function chooseUser(facts: IdentityFacts): UserFacts {
  if (!facts.userSwitching) return defaultUser(facts);
  if (facts.user.name !== '') {
    const { name, found } = facts.user;
    if (found === undefined) throw unknownUser('PassengerUser', name);
    return found.uid === 0 ? defaultUser(facts) : found;
  }
  // A file of root's, or of a uid without an account, says nothing about who shall run it.
  return facts.owner === undefined || facts.owner.uid === 0 ? defaultUser(facts) : facts.owner;
}

function defaultGid(facts: IdentityFacts): number {
  const { name, found } = facts.defaultGroup;
  if (name !== '' && found === undefined) throw unknownGroup('PassengerDefaultGroup', name);
  const gid = found?.gid ?? defaultUser(facts).gid;
  if (gid === 0) throw rootRefused('PassengerDefaultGroup');
  return gid;
}

function chooseGid(facts: IdentityFacts, user: UserFacts): number {
  if (!facts.userSwitching) return defaultGid(facts);
  const { name, found } = facts.group;
  if (name === '') return user.gid === 0 ? defaultGid(facts) : user.gid;
  if (name === GROUP_OF_STARTUP_FILE) {
    return facts.reference.gid === 0 ? defaultGid(facts) : facts.reference.gid;
  }
  if (found === undefined) throw unknownGroup('PassengerGroup', name);
  return found.gid === 0 ? defaultGid(facts) : found.gid;
}

/**
 * @throws PassengerError PSG7010, PSG7011, PSG7012; PSG7014 when a taken-over core could have written the code that
 * another user would run
 */
export function chooseIdentity(facts: IdentityFacts): ChosenIdentity {
  const user = chooseUser(facts);
  const gid = chooseGid(facts, user);
  const coreOwns = facts.reference.uid === facts.coreUid || facts.appRoot.uid === facts.coreUid;
  if (coreOwns && user.uid !== facts.coreUid) throw new PassengerError('PSG7014', { user: user.name });
  return { user, gid };
}
