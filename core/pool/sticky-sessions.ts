/**
 * Which process of a group a request belongs to: by the id that its client has sent, or by the session of the app that it
 * names (SockJS), which belongs to the process that served its first request. One for each group, in slots.ts; knows
 * nothing of load or waiting. It is empty again after the core's death, unlike the ids.
 */
import { BoundedMap } from '../config/bounded-map.js';
import type { StickyWish } from './session.js';

/** Sessions that are remembered; those that were asked for least recently go first. */
const MOST_SESSIONS = 10_000;

export class StickySessions<P extends { readonly stickyId: string }> {
  /** Sticky id of the process, by session. Processes that have gone stay until they are forgotten. */
  readonly #sessions = new BoundedMap<string>(MOST_SESSIONS);

  /** @returns undefined when any process will do */
  find(wish: StickyWish, serving: readonly P[]): P | undefined {
    for (const id of wish.ids) {
      const own = serving.find(({ stickyId }) => stickyId === id);
      if (own !== undefined) return own;
    }
    const { session } = wish;
    const known = session === undefined ? undefined : this.#sessions.get(session);
    if (session === undefined || known === undefined) return undefined;
    this.#sessions.set(session, known);
    return serving.find(({ stickyId }) => stickyId === known);
  }

  /** The request is served by this process, because no other was right. */
  remember({ session }: StickyWish, process: P): void {
    if (session !== undefined) this.#sessions.set(session, process.stickyId);
  }
}
