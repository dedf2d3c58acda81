/** What the daemon says of itself, for whoever has to find out why it does not do its work. */
import { appendFileSync, renameSync, statSync } from 'node:fs';
import { type Logger, pino } from 'pino';
import { MAX_LOG_BYTES } from './limits.ts';

/**
 * A logger on a file that is bounded: one file and one older one. Few lines, each written at once,
 * since the last one before a crash is the one that matters.
 */
export function openDiagnostics(path: string): Logger {
  let bytes = sizeOf(path);
  const write = (line: string): void => {
    try {
      if (bytes + line.length > MAX_LOG_BYTES) {
        renameSync(path, `${path}.1`);
        bytes = 0;
      }
      appendFileSync(path, line, { mode: 0o600 });
      bytes += line.length;
    } catch {
      // A full disk must not stop the daemon; the journal and stderr speak of it.
    }
  };
  return pino(
    { base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime, level: 'debug' },
    { write },
  );
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    return 0;
  }
}
