/** PSG6xxx: starting an app process. */
import type { ErrorRow } from '../error-row.js';

const NOT_STARTED = 'The app could not be started.';

export const SPAWN_ERRORS = {
  PSG6001: {
    severity: 'error',
    message: 'no app found in the app root',
    status: 500,
    safe: NOT_STARTED,
    cause:
      'The app root holds none of the files that an app is known by, and no type or start command is configured.',
    outcome: 'Requests for the app get an error; the next request looks again.',
    action:
      'Check PassengerAppRoot, or set PassengerStartupFile, PassengerAppType or PassengerAppStartCommand.',
  },
  PSG6002: {
    severity: 'error',
    message: 'the start command of Passengerfile.json is not used',
    status: 500,
    safe: NOT_STARTED,
    cause:
      'The app root has a Passengerfile.json. Start commands are taken from the configuration of Apache only.',
    outcome: 'The app is not started.',
    action:
      'Put the command into PassengerAppStartCommand, or name the startup file with PassengerStartupFile.',
  },
  PSG6003: {
    severity: 'error',
    message: 'the startup file lies outside the app root',
    status: 500,
    safe: NOT_STARTED,
    cause: 'PassengerStartupFile is absolute or leads out of the app root by "..".',
    outcome: 'The app is not started.',
    action:
      'Give a path relative to PassengerAppRoot, or set PassengerAppRoot to a directory that holds the file.',
  },
  PSG6004: {
    severity: 'error',
    message: 'app was not ready in time',
    status: 500,
    safe: NOT_STARTED,
    cause: 'The app did not listen within PassengerStartTimeout. The fields name the step that it was in.',
    outcome: 'The process is killed; waiting requests get an error; later starts are spaced out.',
    action:
      'See the last output of the app: often a database that does not answer. Raise PassengerStartTimeout if it is slow.',
  },
  PSG6005: {
    severity: 'error',
    message: 'app ended before it was ready',
    status: 500,
    safe: NOT_STARTED,
    cause: 'The process exited or was killed by a signal while it started.',
    outcome: 'Waiting requests get an error; later starts are spaced out.',
    action:
      'See exit code and last output of the app. An app that never listens ends as soon as it has nothing to do.',
  },
  PSG6006: {
    severity: 'error',
    message: 'app threw an exception while it started',
    status: 500,
    safe: NOT_STARTED,
    cause: 'An exception or rejection that the app does not handle ended it before it listened.',
    outcome: 'Waiting requests get an error; later starts are spaced out.',
    action: 'See the stack in the fields of the line.',
  },
  PSG6007: {
    severity: 'error',
    message: 'no startup file could be found',
    status: 500,
    safe: NOT_STARTED,
    cause:
      'package.json names no file that exists, and there is neither server.js nor index.js; the fields say what was wrong.',
    outcome: 'The app is not started.',
    action: 'Set PassengerStartupFile, or "main" in package.json.',
  },
  PSG6008: {
    severity: 'info',
    message: 'start of the app was canceled',
    status: 503,
    safe: 'The server is busy or restarting; please try again.',
    cause: 'The process was no longer wanted while it still started: a restart, a reload or a stop.',
    outcome: 'It is killed.',
    action: 'None.',
  },
  PSG6009: {
    severity: 'error',
    message: 'no free port for the app',
    status: 500,
    safe: NOT_STARTED,
    cause: 'A program started by a command needs a TCP port on 127.0.0.1 and none could be bound.',
    outcome: 'The app is not started; the next request tries again.',
    action: 'See how many ports are in use (ss -ltn), and the range in net.ipv4.ip_local_port_range.',
  },
  PSG6010: {
    severity: 'warn',
    message: 'output of the app was dropped',
    cause:
      'The app wrote more than 1000 lines or 1 MB a second for a while (at once it may write 5000 lines or 4 MB).',
    outcome: 'That many lines are lost; the last ones of each process are kept. The app is not slowed down.',
    action: 'Let the app log less, or into a file of its own.',
  },
  PSG6011: {
    severity: 'warn',
    message: 'control connection of an app was closed',
    cause: 'The process sent more than the protocol allows on the descriptor that is meant for the loader.',
    outcome: 'The app goes on; it reports no utilisation any more and is stopped by SIGTERM.',
    action: 'See whether the app writes to descriptor 4.',
  },
  PSG6012: {
    severity: 'error',
    message: 'the supervisor could not start the process',
    status: 500,
    safe: NOT_STARTED,
    cause: 'A step between fork and exec failed; the fields name step and errno.',
    outcome: 'Waiting requests get an error; later starts are spaced out.',
    action: 'See the step and the detail in the fields of the line.',
  },
  PSG6013: {
    severity: 'warn',
    message: 'app listens where requests do not come from',
    cause:
      'The loader saw a server that cannot take the inherited socket: with TLS or HTTP/2, or kept away by autoInstall.',
    outcome: 'The app gets that server as it wants; the first plain HTTP server still gets the socket.',
    action: 'Let the app make a plain HTTP server; Apache does TLS and HTTP/2.',
  },
  PSG6014: {
    severity: 'warn',
    message: 'a running process cannot be adopted',
    cause: 'The record that the core before left about the process is unreadable or of another version.',
    outcome: 'The process is killed; a new one starts when it is needed.',
    action: 'None.',
  },
  PSG6015: {
    severity: 'error',
    message: 'environment of the app is too large',
    status: 500,
    safe: NOT_STARTED,
    cause: 'The values of SetEnv and PassEnv for the app do not fit into one message (about 30 KB).',
    outcome: 'The app is not started.',
    action: 'Move large values into a file that the app reads.',
  },
  PSG6016: {
    severity: 'warn',
    message: "log file of an app cannot be used, its lines go to the server's log",
    cause:
      'PassengerAppLogFile cannot be opened as the user of the app, or its disk takes no more; the field why has the reason.',
    outcome: 'The file is tried again every five seconds while there are lines; the app notices nothing.',
    action:
      "Let the app's user write the file and enter its directory; a symbolic link, a FIFO or a device is not used. Make room on a full disk.",
  },
  PSG6017: {
    severity: 'warn',
    message: 'lines for the log file of an app were lost',
    cause: 'The file system of PassengerAppLogFile is so slow that more than 1 MB of lines waited for it.',
    outcome: 'That many lines are in no log; the app goes on.',
    action: 'Put the file on a local disk.',
  },
  PSG6018: {
    severity: 'warn',
    message: "error page of an app cannot be used, visitors see the server's own",
    cause:
      'PassengerCustomErrorPage is missing, cannot be read as the user of the app, is no regular file or has more than 256 KB; the field why has the reason.',
    outcome:
      'The plain page is shown; the file is looked at again after five seconds when another failure comes.',
    action: 'Put the file where the directive says, readable for the user of the app.',
  },
  PSG6019: {
    severity: 'error',
    message: 'app ended as soon as it was ready',
    status: 500,
    safe: NOT_STARTED,
    cause:
      'The first process of new code became ready and ended within a second: often a database that is away, or a setting that is missing.',
    outcome: 'It has served nobody and counts as a failed start; old processes were not replaced by it.',
    action: 'Look for the reason in the output of the app just before this line.',
  },
} as const satisfies Record<string, ErrorRow>;
