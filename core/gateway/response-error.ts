/** An app's response breaks HTTP/1.1. The text is for the log and names no content of the response. */
export class ResponseError extends Error {
  override readonly name = 'ResponseError';
}
