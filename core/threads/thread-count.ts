/** How many threads carry the gateway. */

/** Up to here apps, Apache and the gateway compete for every core, and one thread is cheapest. */
const SMALL_MACHINE = 3;
const MOST_BY_DEFAULT = 8;

/**
 * @param wanted PassengerGatewayThreads; 0 = by the number of cores
 * @returns 1 = in the main thread of the core
 */
export function gatewayThreadCount(wanted: number, cores: number): number {
  if (wanted > 0) return wanted;
  return cores <= SMALL_MACHINE ? 1 : Math.min(MOST_BY_DEFAULT, Math.floor(cores / 2));
}
