/** PSG3xxx: violations of the wire protocol. */
import type { ErrorRow } from '../error-row.js';

const MISMATCH_ACTION =
  'Restart Apache, so that module, core and configuration come from one installation; then report it if it stays.';

export const WIRE_ERRORS = {
  PSG3001: {
    severity: 'error',
    message: 'Apache module broke the wire protocol',
    status: 502,
    cause:
      'The bytes from the Apache module are not what the protocol allows; the field `reason` says where.',
    outcome: 'The connection is closed and its request aborted; others go on.',
    action: MISMATCH_ACTION,
  },
  PSG3002: {
    severity: 'error',
    message: 'Apache module speaks another version of the wire protocol',
    status: 503,
    cause: 'An Apache module of another release is loaded.',
    outcome: 'Requests of these Apache children are answered with 503.',
    action: MISMATCH_ACTION,
  },
  PSG3003: {
    severity: 'error',
    message: 'Apache module has another directive table',
    status: 503,
    cause: 'The Apache module was built from another release than the one that runs here.',
    outcome: 'Requests of these Apache children are answered with 503.',
    action: MISMATCH_ACTION,
  },
  PSG3004: {
    severity: 'error',
    message: 'connection without the secret of this instance was refused',
    status: 503,
    cause: "A process of Apache's user that is no child of this Apache has tried to speak with the core.",
    outcome: 'The connection is closed.',
    action: "Find out what runs as Apache's user; web apps must have users of their own.",
  },
  PSG3005: {
    severity: 'error',
    message: 'connection of a foreign user was refused',
    status: 503,
    cause: 'A process of another user has opened the socket of the core, which should not be possible.',
    outcome: 'The connection is closed before a byte is read.',
    action: 'Check owner and mode of the instance directory.',
  },
  PSG3006: {
    severity: 'warn',
    message: 'connection without a greeting was closed',
    cause: 'A connection to the core stayed silent for five seconds.',
    outcome: 'The connection is closed.',
    action: 'None, if it happens once in a while on an overloaded machine.',
  },
  PSG3007: {
    severity: 'warn',
    message: 'too many connections to the core',
    status: 503,
    cause: 'Apache has more connections open to the core than its configured number of workers can need.',
    outcome: 'Further connections are closed at once.',
    action: 'Check MaxRequestWorkers of Apache.',
  },
  PSG3008: {
    severity: 'error',
    message: 'the core has no descriptors left for connections',
    status: 503,
    cause: 'The limit of open files of the core is reached, or of the whole system.',
    outcome:
      'New connections of Apache are closed until descriptors are free again; those that exist go on. Reported once a minute.',
    action:
      'The core gets 262,144 where the supervisor is root and may raise limits. Where it may not (a container without CAP_SYS_RESOURCE), raise the limit that Apache starts with: LimitNOFILE of its service, `ulimit -n`.',
  },
} as const satisfies Record<string, ErrorRow>;
