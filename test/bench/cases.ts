/** What is measured. Each case runs against all contenders in turn, round by round. */
export interface Case {
  readonly name: string;
  readonly kind: 'get' | 'post' | 'echo';
  readonly path: string;
  readonly connections: number;
  /** App processes behind each contender. */
  readonly apps: 1 | 4;
  readonly tls: boolean;
  /** Part of `--quick`. */
  readonly quick: boolean;
}

const MORE = { kind: 'get', path: '', apps: 1, tls: false, quick: false } as const;

export const CASES: readonly Case[] = [
  ...[16, 64, 256].map((connections) => ({
    ...MORE,
    name: `12 B x ${connections}`,
    connections,
    quick: connections < 256,
  })),
  ...[16, 64].map((connections) => ({ ...MORE, name: `16 KB x ${connections}`, path: '16k', connections })),
  ...[16, 64].map((connections) => ({ ...MORE, name: `1 MB x ${connections}`, path: '1m', connections })),
  { ...MORE, name: 'POST 1 MB x 16', kind: 'post', connections: 16 },
  { ...MORE, name: '12 B TLS x 16', tls: true, connections: 16 },
  { ...MORE, name: '12 B four apps x 64', apps: 4, connections: 64 },
  { ...MORE, name: 'WebSocket echo x 16', kind: 'echo', connections: 16 },
  { ...MORE, name: 'WebSocket echo x 64', kind: 'echo', connections: 64 },
];

/** The case of idle WebSockets, which measures memory instead of time. */
export const IDLE = { name: 'idle WebSockets', connections: 10_000 } as const;

export const SMALL = /^12 B x/;
export const LARGE = /^1 MB x/;
