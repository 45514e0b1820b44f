/** PSG2xxx: directives and their values. */
import type { ErrorRow } from '../error-row.js';

export const CONFIG_ERRORS = {
  PSG2001: {
    severity: 'error',
    message: 'settings block of a request is broken',
    status: 500,
    safe: 'The configuration of this site could not be read.',
    cause:
      'The Apache module sent a settings block that breaks the rules of the wire protocol, or a value of the configuration (a path, a variable of SetEnv) is not UTF-8. The fields say what and where.',
    outcome: 'Requests for this place of the configuration fail; others are served.',
    action:
      'If the fields say that a text is not UTF-8, correct that line of the configuration. Otherwise rebuild the module and restart Apache, so that module and core are of one version.',
  },
  PSG2002: {
    severity: 'error',
    message: 'value of a directive is not legal',
    status: 500,
    safe: 'The configuration of this site could not be read.',
    cause:
      'A directive has a value of the wrong kind, out of its bounds, or with control characters. Apache refuses most of these when it reads its configuration.',
    outcome: 'Requests for this place fail; a value of the server as a whole stops the start or the reload.',
    action: 'Correct the directive that the fields name; its legal values are in DIRECTIVES.md.',
  },
  PSG2003: {
    severity: 'error',
    message: 'setting of the server is unknown',
    cause: 'The Apache module sent a server setting that the directive table of this core does not have.',
    outcome: 'The start or the reload fails; an older configuration stays in effect.',
    action: 'Rebuild the module and restart Apache, so that module and core are of one version.',
  },
} as const satisfies Record<string, ErrorRow>;
