/** PSG8xxx: instance directory, administration, command line. */
import type { ErrorRow } from '../error-row.js';

export const INSTANCE_ERRORS = {
  PSG8001: {
    severity: 'warn',
    message: 'connection to the admin socket refused',
    cause: 'A process of a user who is neither root nor the user of the core connected to the admin socket.',
    outcome: 'The connection is closed.',
    action: 'Find out who opened the socket: its mode (0600) should have refused that user before.',
  },
  PSG8002: {
    severity: 'error',
    message: 'the core has lost its supervisor',
    cause: 'The channel to the supervisor was closed; the supervisor has ended or was killed.',
    outcome: 'The core ends; Apache starts a new supervisor, which starts a new core.',
    action:
      'Look for the reason in the lines before this one, or for the OOM killer in the log of the kernel.',
  },
  PSG8003: {
    severity: 'warn',
    message: 'a URL of PassengerPreStart could not be asked',
    cause:
      'Apache does not listen at the port of the URL on any address of this machine, or the answer was an error of the ' +
      'server (the app does not start), or there was none within two minutes.',
    outcome: 'The app is started by its first visitor.',
    action: 'Check the URL, and the lines of the app before this one.',
  },
} as const satisfies Record<string, ErrorRow>;
