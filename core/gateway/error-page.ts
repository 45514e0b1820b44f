/**
 * The answers that the server makes itself. A visitor sees a number, a request id and one safe sentence; the rest is
 * for development mode. Nothing here is on the way of a good request.
 */
import { STATUS_CODES } from 'node:http';
import type { ErrorCode } from '../base/error-codes.js';
import type { AppConfig } from '../config/app-config.js';
import { errorRow, type Fields } from '../base/errors.js';
import { FRAME } from '../wire/frames.js';
import { encodeFrame, encodeRefusal, END_FRAME } from '../wire/encoder.js';
import { encodeHead, fieldText } from '../wire/head-frame.js';

export interface ErrorAnswer {
  readonly status: number;
  readonly code: string;
  /** Sentence of the error's row that anybody may read. */
  readonly safe: string;
  readonly requestId: string;
  /** Given in development mode alone. */
  readonly development?: { readonly message: string; readonly details: Fields } | undefined;
  /** Head of the request, to choose between HTML and JSON. */
  readonly headerBlock: string;
  readonly headMethod: boolean;
}

/** @param details of the failure, for a visitor who is meant to see them */
export function errorAnswer(
  code: ErrorCode,
  details: Fields | undefined,
  request: Pick<ErrorAnswer, 'requestId' | 'headerBlock' | 'headMethod'>,
): ErrorAnswer {
  const { status = 500, safe = 'The application cannot be reached at the moment.', message } = errorRow(code);
  return { ...request, status, code, safe, development: details && { message, details } };
}

/** PassengerCustomErrorPage, wherever the files are read. */
export interface PageSource {
  /** Never rejects; undefined: there is none to show. */
  read(app: AppConfig): Promise<Buffer | undefined>;
}

/** The app's own page, where it has one and the visitor is a person who is not meant to see details. */
export function customPage(
  source: PageSource | undefined,
  app: AppConfig,
  { development, headerBlock }: ErrorAnswer,
): Promise<Buffer | undefined> | undefined {
  const wanted = app.settings.customErrorPage !== '' && development === undefined;
  return wanted && !prefersJson(headerBlock) ? source?.read(app) : undefined;
}

/**
 * The whole of an answer that tells of a failure, to be written at once; a promise where the app has a page of its own.
 * @param details of the failure; shown in development mode alone
 */
export function errorResponse(
  source: PageSource | undefined,
  app: AppConfig,
  code: ErrorCode,
  details: Fields,
  request: Pick<ErrorAnswer, 'requestId' | 'headerBlock' | 'headMethod'>,
): Buffer | Promise<Buffer> {
  const answer = errorAnswer(code, app.settings.friendlyErrorPages ? details : undefined, request);
  const own = customPage(source, app, answer);
  return own === undefined ? errorFrames(answer) : own.then((page) => errorFrames(answer, page));
}

/** Where the head is out already: the answer breaks off. */
export function abortFrame(code: ErrorCode): Buffer {
  return encodeRefusal(FRAME.ABORT, errorRow(code).status ?? 502, code);
}

const RETRY_AFTER_SECONDS = '2';

/**
 * HEAD, DATA and END of the page, to be written at once.
 * @param page the app's own, in place of ours
 */
export function errorFrames(answer: ErrorAnswer, page?: Buffer): Buffer {
  const json = page === undefined && prefersJson(answer.headerBlock);
  const body = page ?? Buffer.from(json ? jsonPage(answer) : htmlPage(answer));
  const fields = [
    fieldText('Content-Type', json ? 'application/json' : 'text/html; charset=UTF-8'),
    fieldText('Content-Length', String(body.length)),
    fieldText('Cache-Control', 'no-store'),
    fieldText('Status', `${answer.status} ${STATUS_CODES[answer.status] ?? ''}`.trimEnd()),
  ];
  if (answer.status === 503) fields.push(fieldText('Retry-After', RETRY_AFTER_SECONDS));
  const head = encodeHead(
    {
      status: answer.status,
      reason: STATUS_CODES[answer.status] ?? '',
      count: fields.length,
      fields: fields.join(''),
    },
    { noBody: answer.headMethod },
  );
  if (answer.headMethod) return Buffer.concat([head, END_FRAME]);
  // A page with a long journey may need several frames.
  const frames: Buffer[] = [head];
  for (let at = 0; at < body.length; at += 65_536) {
    frames.push(encodeFrame(FRAME.DATA, 0, body.subarray(at, at + 65_536)));
  }
  return Buffer.concat([...frames, END_FRAME]);
}

/** Whether the client named JSON and did not name HTML, in Accept or by what it sent. */
export function prefersJson(headerBlock: string): boolean {
  const accept = fieldValue(headerBlock, 'accept');
  if (/text\/html|application\/xhtml/i.test(accept)) return false;
  return /\bapplication\/(?:[\w.-]+\+)?json\b/i.test(`${accept},${fieldValue(headerBlock, 'content-type')}`);
}

function fieldValue(headerBlock: string, name: string): string {
  return new RegExp(`\\r\\n${name}:([^\\r]*)`, 'i').exec(headerBlock)?.[1] ?? '';
}

function jsonPage(answer: ErrorAnswer): string {
  const { status, code, safe, requestId, development } = answer;
  const error = { status, code, message: safe, requestId };
  if (development === undefined) return `${JSON.stringify({ error })}\n`;
  return `${JSON.stringify({ error: { ...error, cause: development.message, details: development.details } })}\n`;
}

function escapeHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replace(/[&<>"']/g, (char) => entities[char] ?? '');
}

function detailsTable(details: Fields): string {
  let rows = '';
  for (const [name, value] of Object.entries(details)) {
    if (value === undefined) continue;
    rows += `<dt>${escapeHtml(name)}</dt><dd><pre>${escapeHtml(String(value))}</pre></dd>\n`;
  }
  return rows === '' ? '' : `<dl>\n${rows}</dl>\n`;
}

const STYLE =
  'body{font:16px/1.5 sans-serif;max-width:60em;margin:4em auto;padding:0 1em;color:#222}' +
  'code,pre{font-family:monospace;white-space:pre-wrap}dt{font-weight:bold}small{color:#555}';

function htmlPage(answer: ErrorAnswer): string {
  const title = `${answer.status} ${STATUS_CODES[answer.status] ?? 'Error'}`;
  const development = answer.development;
  const more =
    development === undefined
      ? ''
      : `<h2>${escapeHtml(development.message)}</h2>\n${detailsTable(development.details)}`;
  return `<!DOCTYPE html>
<html lang="en"><head><meta charset="UTF-8"><title>${escapeHtml(title)}</title><style>${STYLE}</style></head>
<body><h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(answer.safe)}</p>
${more}<p><small>Error <code>${escapeHtml(answer.code)}</code>, request <code>${escapeHtml(answer.requestId)}</code></small></p>
</body></html>
`;
}
