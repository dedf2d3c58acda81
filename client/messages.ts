import type { Io } from './io.ts';

/** A line on stderr. Nobody waits for it, and nothing fails if nobody reads it. */
export function say(io: Io, text: string): void {
  io.stderr.write(`mapisync: ${text}\n`).catch(() => {}); // stdout's failure is the one that counts.
}
