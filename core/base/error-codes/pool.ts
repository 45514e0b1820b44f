/** PSG5xxx: routing and pool. */
import type { ErrorRow } from '../error-row.js';

export const POOL_ERRORS = {
  PSG5001: {
    severity: 'warn',
    message: 'request refused because the waiting list of its app is full',
    status: 503,
    safe: 'This website is under heavy load. Please try again in a moment.',
    cause: 'As many requests as PassengerMaxRequestQueueSize allows wait for a process of this app.',
    outcome: 'The request is answered with 503; those that wait keep their place.',
    action: 'Look for slow requests, allow more processes, or raise PassengerMaxRequestQueueSize.',
  },
  PSG5002: {
    severity: 'warn',
    message: 'request waited too long for a process of its app',
    status: 503,
    safe: 'This website is under heavy load. Please try again in a moment.',
    cause: 'No process of the app became free in time, or the pool is full and no other app could make room.',
    outcome: 'The request is answered with 503.',
    action: 'Look for slow requests, raise PassengerMaxPoolSize, or allow more processes for this app.',
  },
  PSG5003: {
    severity: 'error',
    message: 'app could not be started',
    cause:
      'The start failed at the step that the fields name; the message with the number in `error` says why.',
    outcome: 'Requests get the same error until the pause is over; then the app is started again.',
    action: 'Mend the app. Touching tmp/restart.txt ends the pause at once.',
  },
  PSG5004: {
    severity: 'error',
    message: 'starting an app failed unexpectedly',
    status: 500,
    safe: 'The application could not be started.',
    cause: 'An error without a number came out of the code that starts processes.',
    outcome: 'Treated as a failed start.',
    action: 'Report it with the line from the log.',
  },
  PSG5005: {
    severity: 'warn',
    message: 'app process ended unexpectedly',
    cause:
      'The app exited by itself, crashed, or was killed by somebody else; SIGKILL may be the out-of-memory killer ' +
      'of the kernel (see its log).',
    outcome: 'It is replaced at once; one that keeps ending soon after its start, after growing pauses.',
    action: 'Look for the reason in the output of the app just before this line.',
  },
  PSG5006: {
    severity: 'error',
    message: 'app keeps ending soon after its start',
    status: 503,
    safe: 'The application is not available at the moment. Please try again shortly.',
    cause: 'Several processes of the app became ready and ended within half a minute.',
    outcome: 'Requests are answered with 503 until the pause is over; then the app is started again.',
    action: 'Look for the reason in the output of the app. Touching tmp/restart.txt ends the pause at once.',
  },
  PSG5007: {
    severity: 'warn',
    message: 'old app process did not finish its requests in time',
    cause: 'A process that was replaced still held requests when PassengerDrainTimeout had passed.',
    outcome: 'It is stopped; its requests are broken off visibly.',
    action: 'Raise PassengerDrainTimeout if such requests are meant to take long.',
  },
  PSG5008: {
    severity: 'warn',
    message: 'app process did not exit when asked and is killed',
    cause: 'It neither followed the request to exit nor SIGTERM within PassengerShutdownTimeout.',
    outcome: 'Its process group gets SIGKILL.',
    action: 'Make the app exit on SIGTERM, or raise PassengerShutdownTimeout.',
  },
  PSG5009: {
    severity: 'warn',
    message: 'restart files cannot be looked at',
    cause:
      'The look at restart.txt failed or was not answered in time (file system that hangs, symbolic link, rights).',
    outcome: 'Requests go on with the running code; the next look is made as usual.',
    action: 'Check PassengerRestartDir and the file system below it.',
  },
  PSG5010: {
    severity: 'notice',
    message: 'request refused because the server is stopping',
    status: 503,
    safe: 'The server is about to stop. Please try again in a moment.',
    cause: 'Apache was told to stop.',
    outcome: 'The request is answered with 503.',
    action: 'None.',
  },
  PSG5011: {
    severity: 'warn',
    message: 'app process takes no connections and is replaced',
    cause:
      'A connection to the socket of the process was refused: the app has closed it, or has ended; then a line ' +
      'with PSG5005 says how.',
    outcome: 'The process finishes its open requests and is stopped; another one takes its place.',
    action: 'Look for code in the app that closes its server.',
  },
  PSG5012: {
    severity: 'warn',
    message: 'app processes are still there after the deadline of the stop',
    cause:
      'They did not end although they were killed (for example, waiting for a dead network file system).',
    outcome: 'The server goes on stopping without waiting for them.',
    action: 'Check the processes that the fields name.',
  },
  PSG5013: {
    severity: 'error',
    message: 'new code of an app does not start and is resisted',
    cause:
      'After a restart with PassengerResistDeploymentErrors the first process of the new code could not be started, or ' +
      'ended within a second; ' +
      'the message with the number in `error` says why.',
    outcome:
      'The old processes go on serving. Nothing is started for this app, not even to replace one of them, until it is ' +
      'restarted or Apache is reloaded, or no old process is left.',
    action: 'Mend the app and restart it.',
  },
  PSG5020: {
    severity: 'warn',
    message: 'request refused because too many requests of all apps wait',
    status: 503,
    safe: 'This website is under heavy load. Please try again in a moment.',
    cause: 'As many requests as PassengerMaxWaitingRequests allows wait for processes, of whatever app.',
    outcome: 'The request is answered with 503; those that wait keep their place.',
    action: 'Look for apps that are slow or do not start, or raise PassengerMaxWaitingRequests.',
  },
  PSG5030: {
    severity: 'error',
    message: 'app process takes more memory than PassengerHardMemoryLimit and is killed',
    status: 503,
    safe: 'The application is not available at the moment. Please try again shortly.',
    cause: 'The process and its children together took more memory than the limit allows.',
    outcome:
      'Its process group gets SIGKILL, its requests are broken off visibly, and another process takes its place: ' +
      'at once, or after growing pauses where this happens soon after the start.',
    action:
      'Look for a leak or for requests that need much memory, or raise PassengerHardMemoryLimit. A lower ' +
      'PassengerMemoryLimit replaces a process that grows slowly before that, without loss.',
  },
  PSG5031: {
    severity: 'error',
    message: 'app process does not answer any more and is killed',
    cause:
      'A request ran into Timeout or PassengerMaxRequestTime, and the event loop of the process has not turned for ' +
      'seconds: an endless loop, very long synchronous work, or a process that was stopped by a signal.',
    outcome: 'Its process group gets SIGKILL, its requests get 502, and another process takes its place.',
    action: 'Look for loops without end and for synchronous work in the app; a CPU profile shows them.',
  },
  PSG5032: {
    severity: 'warn',
    message: 'app process exceeded PassengerMaxRequestTime and is killed',
    cause:
      'Its only request took too long, and a program that is not a Node app cannot be asked whether it is alive.',
    outcome: 'Its process group gets SIGKILL, and another process takes its place.',
    action: 'Look for what makes the request slow, or raise PassengerMaxRequestTime.',
  },
  PSG5033: {
    severity: 'warn',
    message: 'app processes take more memory than PassengerMemoryLimit soon after their start',
    cause: 'The limit is lower than what the app needs to run, or it leaks within its first half minute.',
    outcome: 'Its processes are replaced after growing pauses, up to half a minute, and serve meanwhile.',
    action: 'Compare the limit with the memory that passenger-status shows soon after a start, and raise it.',
  },
} as const satisfies Record<string, ErrorRow>;
