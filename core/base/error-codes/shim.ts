/** PSG1xxx: messages of the Apache module. They are written by apache-module/*.c, which repeats the message. */
import type { ErrorRow } from '../error-row.js';

export const SHIM_ERRORS = {
  PSG1001: {
    severity: 'error',
    message: 'cannot start the supervisor',
    cause:
      'A step between fork and exec failed in Apache’s parent or its child; the line names step, errno and the Node.js to be run.',
    outcome: 'Apache serves static files; requests for apps get 503 until a start succeeds.',
    action:
      'With step=exec: check that PassengerCoreNodejs (or the built-in path) is a Node.js that may be executed.',
  },
  PSG1002: {
    severity: 'warn',
    message: 'supervisor ended, starting it again',
    cause: 'The supervisor was killed or ended by an error of its own; its last lines stand above this one.',
    outcome:
      'A new supervisor and core start at once; apps start anew. Requests wait up to five seconds for them.',
    action: 'Look for the reason above this line: out of memory, a signal, PSG0001.',
  },
  PSG1003: {
    severity: 'error',
    message: 'core did not report that it serves, apps answer 503 until it does',
    cause:
      'At the start of Apache the core did not get ready within the limit, or the supervisor ended before that.',
    outcome: 'Apache goes on starting. Apps answer 503 until the core is ready.',
    action: 'Look for lines of supervisor and core around this one; check load and memory of the machine.',
  },
  PSG1004: {
    severity: 'error',
    message: 'core cannot start, apps answer 503',
    cause: 'The supervisor reported a failure; the fields hold its number and sentence.',
    outcome: 'Apache serves static files; apps answer 503. A reload tries again.',
    action: 'Look up the number that stands in the field code.',
  },
  PSG1005: {
    severity: 'error',
    message: 'cannot send the configuration to the supervisor',
    cause:
      'The control socket is broken or was not read for five seconds, or the configuration exceeds 1 MiB.',
    outcome: 'A running supervisor is stopped and a new one started with the configuration.',
    action: 'With why=size: reduce the number of PassengerUser, PassengerAppStartCommand and similar lines.',
  },
  PSG1006: {
    severity: 'error',
    message: 'cannot reach the core',
    status: 503,
    cause:
      'Connecting to the core’s socket failed for five seconds, or at once for a reason that does not pass (EACCES).',
    outcome: 'The request gets 503 with Retry-After. It is never served as a static file.',
    action:
      'Check that the core runs (passenger-status) and that path and uid of the line may reach the socket.',
  },
  PSG1007: {
    severity: 'error',
    message: 'core did not acknowledge the request within 2 s',
    status: 503,
    cause: 'The core took the connection but sends nothing: it is frozen, stopped or starved of CPU.',
    outcome: 'The request gets 503 with Retry-After. The supervisor replaces a core whose heartbeat stops.',
    action: 'Check the load of the machine; look for lines about the heartbeat.',
  },
  PSG1008: {
    severity: 'error',
    message: 'core violated the wire protocol',
    status: 502,
    cause:
      'A frame was malformed or came out of order: module and core are of different builds, or one has a bug.',
    outcome:
      'The request gets 502, or its connection is broken where the head was out. The connection to the core is closed.',
    action: 'Restart Apache after an upgrade. If it stays, report the field what.',
  },
  PSG1009: {
    severity: 'error',
    message: 'core closed the connection in the middle of an exchange',
    status: 502,
    cause: 'The core ended or was killed while it worked on this request.',
    outcome:
      'The request gets 502, or its connection is broken where the head was out. Safe requests are tried again first.',
    action: 'Look for the end of the core above this line.',
  },
  PSG1010: {
    severity: 'error',
    message: 'the app directory cannot be examined',
    status: 500,
    cause: 'Apache’s user may not search the directory, or one above it.',
    outcome: 'The request gets 500.',
    action:
      'Give Apache’s user the right to enter the directory and its parents (mode x), or set PassengerAppType.',
  },
  PSG1011: {
    severity: 'warn',
    message: "app holds its share of Apache's workers",
    status: 503,
    cause:
      'As many requests of one app are in progress as PassengerMaxWorkerShare allows; mostly the app hangs.',
    outcome: 'Further requests of this app get 503 with Retry-After at once; other sites go on.',
    action:
      'Find out why the app is slow; raise MaxRequestWorkers or PassengerMaxWorkerShare if it only is popular.',
  },
  PSG1012: {
    severity: 'error',
    message: 'core was silent beyond every limit',
    status: 504,
    cause: 'The core accepted the request but neither answered nor reported a timeout in time.',
    outcome: 'The request gets 504, or its connection is broken where the head was out.',
    action: 'Report it: the core should have ended this request itself.',
  },
  PSG1013: {
    severity: 'error',
    message: 'core refused the connection',
    status: 503,
    cause:
      'Version, directive table or secret of module and core differ; mostly an upgrade without a restart.',
    outcome: 'The request gets the status that the core named.',
    action: 'Restart Apache (not only reload). The field code has the core’s number.',
  },
  PSG1014: {
    severity: 'error',
    message: 'settings and header fields are too large for one request',
    status: 500,
    cause: 'SetEnv values and directives exceed 128 KiB, and 256 KiB together with the header fields.',
    outcome:
      'The request gets 500. (Header fields that are too large by themselves get 431, without a line.)',
    action: 'Reduce the environment that SetEnv gives to the app.',
  },
  PSG1015: {
    severity: 'error',
    message: 'the configured app root is not a directory',
    status: 500,
    cause: 'PassengerAppRoot names something that does not exist or is no directory.',
    outcome: 'The request gets 500.',
    action: 'Correct PassengerAppRoot of this virtual host.',
  },
  PSG1016: {
    severity: 'error',
    message: 'supervisor ends again and again, next try in about ten seconds',
    cause: 'The supervisor ended five times within ten seconds.',
    outcome: 'Apps answer 503; a start is tried about every ten seconds.',
    action: 'Look for the reason above: PSG1001, PSG7019 or the first line of an exception.',
  },
  PSG1017: {
    severity: 'warn',
    message: 'cannot create shared memory, apps may hold all workers',
    cause: 'The system refused shared memory to Apache’s parent.',
    outcome: 'Everything works, but PassengerMaxWorkerShare has no effect until the next reload.',
    action: 'Check the limits of shared memory and address space of Apache.',
  },
  PSG1018: {
    severity: 'error',
    message: 'path of the runtime directory is too long for a socket',
    cause: 'PassengerInstanceRegistryDir (or TMPDIR) has more than about 70 characters.',
    outcome: 'No core is started; apps answer 503.',
    action: 'Set PassengerInstanceRegistryDir to a shorter path.',
  },
  PSG1019: {
    severity: 'notice',
    message: "open tunnels come near Apache's limit of connections, raise AsyncRequestWorkerFactor",
    cause:
      'A child of the event MPM takes at most ThreadsPerChild × (AsyncRequestWorkerFactor + 1) connections, tunnels included; nine tenths of it are open tunnels.',
    outcome: 'Beyond the limit this child takes no connection until one ends; others wait in the backlog.',
    action: 'Raise AsyncRequestWorkerFactor, and the limit of open files with it.',
  },
  PSG1020: {
    severity: 'warn',
    message: 'cannot start the thread for tunnels, they hold workers',
    cause: 'The system gave Apache no thread or no descriptor.',
    outcome: 'Each WebSocket holds a worker thread of this child until it ends.',
    action: 'Raise the limits of threads and open files of Apache.',
  },
  PSG1021: {
    severity: 'error',
    message: 'installation is incomplete, apps answer 503',
    cause: 'Neither below PassengerRoot nor where the module was built is a compiled supervisor.',
    outcome: 'Nothing can be started: requests for apps get 503.',
    action: 'Run `npx passenger-install-apache2-module` there, or correct PassengerRoot.',
  },
} as const satisfies Record<string, ErrorRow>;
