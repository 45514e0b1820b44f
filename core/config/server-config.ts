/**
 * The settings of the server as a whole, from the pairs that Apache's parent sends to the supervisor at each reload
 * and the supervisor passes on to the core.
 */
import { PassengerError } from '../base/errors.js';
import { findDirective, targetOf } from './directives.js';
import { ExplicitValues, type ServerSettings } from './settings.js';

/**
 * @param pairs name of the directive and canonical text, one for each explicit value (a set has several)
 * @throws PassengerError PSG2002 for an illegal value, PSG2003 for a name that is none
 */
export function parseServerSettings(
  pairs: readonly (readonly [name: string, value: string])[],
): ServerSettings {
  const values = new ExplicitValues();
  for (const [name, text] of pairs) {
    const named = findDirective(name);
    const row = named === undefined ? undefined : targetOf(named);
    if (row === undefined || row.scope !== 'server') throw new PassengerError('PSG2003', { directive: name });
    if (row.status === 'supported' || row.status === 'planned') values.add(row, text);
  }
  return values.settings('server');
}
