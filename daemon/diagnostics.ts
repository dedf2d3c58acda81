/** What the daemon says of itself, for whoever has to find out why it does not do its work. */
import { appendFileSync, renameSync, statSync } from 'node:fs';
import { type Logger, pino } from 'pino';
import { MAX_LOG_BYTES, MAX_SAID_BYTES } from './limits.ts';

/**
 * A logger on a file that is bounded: one file and one older one. Few lines, each written at once,
 * since the last one before a crash is the one that matters.
 */
export function openDiagnostics(path: string): Logger {
  let bytes = sizeOf(path);
  const write = (line: string): void => {
    try {
      const size = Buffer.byteLength(line);
      if (bytes + size > MAX_LOG_BYTES) {
        renameSync(path, `${path}.1`);
        bytes = 0;
      }
      appendFileSync(path, line, { mode: 0o600 });
      bytes += size;
    } catch {
      // A full disk must not stop the daemon; the journal and stderr speak of it.
    }
  };
  return pino(
    { base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime, level: 'debug' },
    { write },
  );
}

/**
 * Says things to people on stderr, and falls silent when it has said a lot: the stderr of a daemon in the
 * background is its log file, which nothing else keeps small.
 */
export function sayOnStderr(write: (line: string) => void): (line: string) => void {
  let bytes = 0;
  return (line) => {
    if (bytes > MAX_SAID_BYTES) return;
    bytes += Buffer.byteLength(line) + 1;
    const more = bytes > MAX_SAID_BYTES ? '\nmapisync: More is in daemon.log alone' : '';
    write(`${line}${more}\n`);
  };
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    return 0;
  }
}
