/** The two clocks. Monotonic is the shim's clock too: the system's since its start. */
import { rfc3339 } from '../protocol/records/time.ts';

/** Microseconds of the machine's monotonic clock, as `timeUs` in frames. */
export const monotonicUs = (): number => Math.floor(Number(process.hrtime.bigint()) / 1000);

/** Microseconds since 1970 UTC. */
export const wallUs = (): number => Date.now() * 1000;

/** The time of a record that no frame caused. */
export const nowText = (): string => rfc3339(wallUs());
