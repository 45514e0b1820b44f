/** PSG4xxx: the way of a request through the core. */
import type { ErrorRow } from '../error-row.js';

export const GATEWAY_ERRORS = {
  PSG4001: {
    severity: 'error',
    message: 'app ended the connection without an answer',
    status: 502,
    safe: 'The application did not answer.',
    cause: 'The app process crashed, exited or closed the connection before its answer had a complete head.',
    outcome:
      'The request is answered with 502. A request that is safe to repeat is repeated once on a new connection if the old one had been idle.',
    action: "Read the app's own output around this time.",
  },
  PSG4002: {
    severity: 'error',
    message: 'answer of the app is not valid HTTP',
    status: 502,
    safe: 'The application sent an invalid answer.',
    cause: 'The head or the framing of the answer breaks HTTP/1.1; the field `reason` says how.',
    outcome: 'The request is answered with 502 and the connection to the app is closed.',
    action: 'Correct the app, or the library that writes its answers.',
  },
  PSG4003: {
    severity: 'error',
    message: 'app ended the connection in the middle of its answer',
    status: 502,
    cause: 'The app process crashed, exited or closed the connection before the body was complete.',
    outcome: "The client's connection is broken, so that it cannot take the part for the whole.",
    action: "Read the app's own output around this time.",
  },
  PSG4004: {
    severity: 'error',
    message: 'body of the answer of the app is not valid HTTP',
    status: 502,
    cause: 'The chunk framing of the body is broken; the field `reason` says how.',
    outcome: "The client's connection is broken and the connection to the app closed.",
    action: 'Correct the app, or the library that writes its answers.',
  },
  PSG4005: {
    severity: 'error',
    message: 'app did not answer in time',
    status: 504,
    safe: 'The application did not answer in time.',
    cause: "The app was silent for longer than Apache's Timeout.",
    outcome: 'The request is answered with 504 and its connection to the app closed.',
    action: 'Find out what the app waits for; raise Timeout if its answers need longer.',
  },
  PSG4006: {
    severity: 'error',
    message: 'app fell silent in the middle of its answer',
    status: 504,
    cause: "The app has sent part of an answer and then nothing for longer than Apache's Timeout.",
    outcome: "The client's connection is broken and the connection to the app closed.",
    action: 'Find out what the app waits for; raise Timeout if its answers need longer.',
  },
  PSG4007: {
    severity: 'error',
    message: 'app process does not take connections',
    status: 503,
    safe: 'The application is not reachable at the moment.',
    cause:
      'Several attempts to connect to processes of the app have failed; the field `error` has the last reason.',
    outcome: 'The request is answered with 503.',
    action: "Read the app's own output around this time; an app must not close its listening socket.",
  },
  PSG4008: {
    severity: 'error',
    message: 'no room to buffer a request body',
    status: 507,
    safe: 'The server has no room for this upload at the moment.',
    cause: 'The file system of PassengerDataBufferDir is full, or a quota is reached.',
    outcome: 'The request is answered with 507; the app does not see it.',
    action:
      'Make room, point PassengerDataBufferDir elsewhere, or set PassengerBufferUpload off for this place.',
  },
  PSG4009: {
    severity: 'error',
    message: 'request body cannot be buffered',
    status: 500,
    safe: 'The server cannot take this upload.',
    cause:
      "PassengerDataBufferDir does not exist, or Apache's user may not write there; the field `error` has the reason.",
    outcome: 'The request is answered with 500; the app does not see it.',
    action: "Make the directory writable for Apache's user.",
  },
  PSG4010: {
    severity: 'notice',
    message: 'request body stopped arriving',
    status: 400,
    safe: 'The upload was not completed.',
    cause: "Twice Apache's Timeout has passed without a byte of the request body.",
    outcome: 'The request ends; an app that has seen its beginning sees its connection closed.',
    action: 'None; mod_reqtimeout limits slow clients earlier.',
  },
  PSG4011: {
    severity: 'info',
    message: 'request was canceled',
    status: 502,
    cause: 'The client has gone, or Apache gave the request up.',
    outcome: "The app's connection for this request is closed.",
    action: 'None.',
  },
} as const satisfies Record<string, ErrorRow>;
