import type { Io } from './io.ts';
import type { Settings } from './settings.ts';

/** What ends a command that waits. */
export interface Patience {
  /** The user wants to stop. */
  readonly stopped: AbortSignal;
  /** That, or --timeout has passed: it is for the whole command, and the limit for answers stays. */
  readonly signal: AbortSignal;
}

export function patience({ timeoutMs }: Settings, io: Io): Patience {
  const stopped = io.interrupted();
  if (timeoutMs === undefined) return { stopped, signal: stopped };
  return { stopped, signal: AbortSignal.any([stopped, AbortSignal.timeout(timeoutMs)]) };
}
