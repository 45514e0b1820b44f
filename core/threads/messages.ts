/**
 * What the main thread of the core and its gateway threads say to each other. Plain data that the structured clone of
 * a message port can copy; books of the pool travel as shared memory. The words stand in README.md.
 */
import type { ErrorCode } from '../base/error-codes.js';
import type { Fields } from '../base/errors.js';
import type { Level } from '../base/log.js';
import type { AppConfig } from '../config/app-config.js';
import type { ServerSettings } from '../config/settings.js';
import type { CheckoutOptions, OverdueLimit } from '../gateway/session-source.js';
import type { Admission } from '../gateway/shim-connection.js';
import type { AppTarget } from '../pool/session.js';

/** A process that takes sessions, or has taken some. */
export interface ProcessNote {
  readonly key: string;
  readonly pid: number;
  readonly stickyId: string;
  readonly target: AppTarget;
  readonly memory: SharedArrayBuffer;
}

/** From the desk of the pool to the sessions of a thread. */
export type DeskMessage =
  /** All processes of a group that a thread may meet; replaces what was said before. */
  | {
      readonly kind: 'group';
      readonly key: string;
      readonly memory: SharedArrayBuffer;
      readonly processes: readonly ProcessNote[];
    }
  | { readonly kind: 'group-gone'; readonly key: string }
  /** A process takes no more sessions and finishes those that it has. */
  | { readonly kind: 'drains'; readonly process: string }
  /** The session is the thread's from now on; it is counted already. */
  | { readonly kind: 'session'; readonly ticket: number; readonly process: string }
  | { readonly kind: 'failure'; readonly ticket: number; readonly code: ErrorCode; readonly details: Fields }
  /** The group has gone meanwhile: ask again, with the configuration. */
  | { readonly kind: 'ask-again'; readonly ticket: number };

/** From the sessions of a thread to the desk. */
export type SessionMessage =
  | {
      readonly kind: 'checkout';
      readonly ticket: number;
      readonly groupKey: string;
      /** Absent when the pool knows it. */
      readonly config: AppConfig | undefined;
      readonly options: CheckoutOptions;
    }
  | { readonly kind: 'cancel'; readonly ticket: number }
  /** A session of the process was closed, and the pool waits for that. */
  | { readonly kind: 'fell'; readonly process: string }
  | { readonly kind: 'unreachable'; readonly process: string }
  | { readonly kind: 'overdue'; readonly process: string; readonly limit: OverdueLimit };

/** From the main thread to a gateway thread. */
export type ToThread =
  | DeskMessage
  /** The descriptor is the thread's own from now on. */
  | { readonly kind: 'listen'; readonly fd: number }
  | { readonly kind: 'configure'; readonly admission: Admission; readonly server: ServerSettings }
  /** Answer to page-wanted; absent: the gateway shows its own page. */
  | { readonly kind: 'page'; readonly ticket: number; readonly page: Uint8Array | undefined }
  | { readonly kind: 'stop' }
  | { readonly kind: 'close-now' };

/** From a gateway thread to the main thread. */
export type FromThread =
  | SessionMessage
  | { readonly kind: 'listening' }
  | { readonly kind: 'stopped' }
  /** The error page of an app. */
  | { readonly kind: 'page-wanted'; readonly ticket: number; readonly app: AppConfig }
  | { readonly kind: 'log'; readonly level: Level; readonly room: string; readonly text: string }
  /** What happened to requests of one kind, at the thread's own pace. */
  | { readonly kind: 'failures'; readonly code: ErrorCode; readonly fields: Fields; readonly key: string };

/** What a thread is born with. */
export interface ThreadStart {
  /** See base/clock.ts: all threads tell the same time. */
  readonly clockOrigin: number;
  readonly allowedUids: ReadonlySet<number>;
  readonly admission: Admission;
  readonly server: ServerSettings;
  /** See pulse.ts. */
  readonly pulse: SharedArrayBuffer;
}
