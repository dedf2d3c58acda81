import {
  forSystemJournal,
  isSystemJournal,
  type SayLevel,
} from '../daemon/platform/system-journal.ts';
import type { Io } from './io.ts';

/** A line on stderr. Nobody waits for it, and nothing fails if nobody reads it. */
export function say(io: Io, text: string, level: SayLevel = 'info'): void {
  void complain(io, `mapisync: ${text}`, level);
}

/** Lines on stderr, as whoever reads it there takes them. */
export async function complain(io: Io, text: string, level: SayLevel = 'error'): Promise<void> {
  const lines = isSystemJournal(io.env) ? forSystemJournal(text, level) : `${text}\n`;
  await io.stderr.write(lines).catch(() => {}); // stdout's failure, or the exit code, is what counts.
}
