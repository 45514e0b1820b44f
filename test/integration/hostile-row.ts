/**
 * What a row of the battery of bad requests says, and the words its tables are written in. Read by hostile-field-table.ts,
 * hostile-framing-table.ts and the test.
 */

/** What the app must have received for a request to count as reached. */
export interface Reached {
  readonly line: string;
  readonly body?: string;
  /** Fields by lower-case name; undefined: must not be there. */
  readonly has?: Readonly<Record<string, string | undefined>>;
}

export interface Row {
  readonly name: string;
  readonly bytes: string;
  /** Sent one after the other when the first bytes are out. */
  readonly pieces?: readonly string[];
  /** Statuses of the answers in order, as a text; with `HttpProtocolOptions Unsafe` where that differs. */
  readonly answers: string | RegExp;
  readonly unsafe?: string | RegExp;
  /** Requests that the app gets, in both modes; in Unsafe mode where that differs. */
  readonly reached?: readonly Reached[];
  readonly reachedUnsafe?: readonly Reached[];
  readonly methods?: readonly string[];
}

export const HOST = 'Host: a.test\r\n';
export const CLOSE = 'Connection: close\r\n';
export const SMUGGLED = `GET /smuggled HTTP/1.1\r\n${HOST}\r\n`;

export function get(fields: string, line = 'GET /x HTTP/1.1'): string {
  return `${line}\r\n${HOST}${CLOSE}${fields}\r\n`;
}
export function post(fields: string, body = ''): string {
  return `POST /x HTTP/1.1\r\n${HOST}${fields}\r\n${body}`;
}
export function chunked(body: string, fields = ''): string {
  return post(`Transfer-Encoding: chunked\r\n${fields}`, body);
}

export const X: Reached = { line: 'GET /x HTTP/1.1' };
export const POSTED: Reached = { line: 'POST /x HTTP/1.1' };

/** A field of which the app must see nothing. */
export function dropped(field: string, name: string): Row {
  return {
    name: `dropped: ${field.slice(0, 60)}`,
    bytes: get(`${field}\r\nX-Kept: 1\r\n`),
    answers: '200',
    reached: [{ ...X, has: { [name.toLowerCase()]: undefined, 'x-kept': '1' } }],
  };
}
/** A field for which ours stands in the request. */
export function replaced(field: string, name: string, ours: string): Row {
  return {
    name: `replaced: ${field}`,
    bytes: get(`${field}\r\n`),
    answers: '200',
    reached: [{ ...X, has: { [name]: ours } }],
  };
}
export function refused(
  name: string,
  bytes: string,
  answers: string | RegExp = '400',
  more: Partial<Row> = {},
): Row {
  return { name, bytes, answers, ...more };
}

export function line(text: string, fields = HOST + CLOSE): string {
  return `${text}\r\n${fields}\r\n`;
}
