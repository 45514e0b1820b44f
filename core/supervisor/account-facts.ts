/**
 * Collects what the identity decision needs: owners below the app root and entries of the account database. Both may
 * hang (dead mount, directory service), so everything runs on threads; the number of threads is bounded.
 */
import { PassengerError } from '../base/errors.js';
import { findGroup, findGroupList, findUser, statBeneath, type Identity, type StatFacts } from '../native.js';
import type { UserFacts } from '../native.js';
import type { Configuration } from './configuration.js';
import { chooseIdentity, GROUP_OF_STARTUP_FILE } from './identity.js';

/** What an app runs as; without root there is no identity to switch to. */
export interface ResolvedIdentity {
  readonly user: UserFacts | undefined;
  readonly identity: Identity | undefined;
  /** App root without symlinks. */
  readonly rootPath: string;
}

export interface IdentityRequest {
  readonly appRoot: string;
  readonly referenceFile: string;
  readonly user: string;
  readonly group: string;
}

function examine(root: string, relative: string): Promise<StatFacts> {
  return new Promise((resolve) => statBeneath(root, relative, 'refused', resolve));
}

async function examineApp(request: IdentityRequest): Promise<StatFacts> {
  const facts = await examine(request.appRoot, request.referenceFile);
  if (facts.rootErrno !== 0 || facts.errno !== 0 || facts.rootPath === '') {
    const missing = facts.rootErrno !== 0 ? '' : request.referenceFile;
    throw new PassengerError('PSG7013', {
      path: missing === '' ? request.appRoot : `${request.appRoot}/${missing}`,
      errno: facts.errno,
    });
  }
  return facts;
}

async function named<T>(name: string, find: (name: string) => Promise<T | undefined>) {
  return { name, found: name === '' || name === GROUP_OF_STARTUP_FILE ? undefined : await find(name) };
}

/** @throws PassengerError PSG7010 to PSG7014 */
export async function resolveIdentity(
  request: IdentityRequest,
  configuration: Configuration,
  ownUid: number,
): Promise<ResolvedIdentity> {
  const facts = await examineApp(request);
  if (ownUid !== 0) {
    return { user: await findUser(ownUid), identity: undefined, rootPath: facts.rootPath };
  }
  const chosen = chooseIdentity({
    userSwitching: configuration.userSwitching,
    user: await named(request.user, findUser),
    group: await named(request.group, findGroup),
    defaultUser: await named(configuration.defaultUser, findUser),
    defaultGroup: await named(configuration.defaultGroup, findGroup),
    reference: facts,
    owner: await findUser(facts.uid),
    appRoot: { uid: facts.rootUid, gid: facts.rootGid },
    coreUid: configuration.message.coreUid,
  });
  const groups = await findGroupList(chosen.user.name, chosen.gid);
  // Membership of root's group, however it came about, is not handed on.
  const identity = { uid: chosen.user.uid, gid: chosen.gid, groups: groups.filter((gid) => gid !== 0) };
  return { user: chosen.user, identity, rootPath: facts.rootPath };
}
