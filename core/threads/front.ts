/** The gateway as the composition root sees it, in whatever number of threads; and the form of it without any. */
import type { ServerSettings } from '../config/settings.js';
import { GatewayCounters, type CounterName, type Gateway } from '../gateway/gateway.js';
import type { Listener } from '../gateway/listener.js';
import type { Admission } from '../gateway/shim-connection.js';

export interface Front {
  /** Takes connections from the listening descriptor. */
  listen(fd: number): Promise<void>;
  configure(admission: Admission, server: ServerSettings): void;
  /** Accepts no more, lets exchanges end. */
  stop(): Promise<void>;
  /** Breaks what is left. */
  closeNow(): void;
  /** Of each thread that carries requests. */
  counters(): readonly GatewayCounters[];
  /** Asked once a second: false when a part of it does not move any more. */
  alive(): boolean;
}

/** What all threads have done together, and each of them. */
export function countersView(
  front: Front,
): Record<CounterName, number> & { threads: readonly GatewayCounters[] } {
  const threads = front.counters();
  const sum = new GatewayCounters();
  for (const counters of threads) sum.add(counters);
  return { ...sum, threads };
}

/** In the main thread, beside the pool: nothing is shared and nothing is told. */
export class MainThreadFront implements Front {
  constructor(
    private readonly gateway: Gateway,
    private readonly listener: Listener,
  ) {}

  listen(fd: number): Promise<void> {
    return this.listener.listen({ fd });
  }

  configure(admission: Admission, server: ServerSettings): void {
    this.listener.setAdmission(admission);
    this.gateway.reload(server);
  }

  stop(): Promise<void> {
    return this.listener.stop();
  }

  closeNow(): void {
    this.listener.closeNow();
  }

  counters(): readonly GatewayCounters[] {
    return [this.gateway.counters];
  }

  alive(): boolean {
    return true;
  }
}
