/** What the daemon says of itself, for whoever has to find out why it does not do its work. */
import { appendFileSync, renameSync, statSync } from 'node:fs';
import { type Logger, pino } from 'pino';
import { MAX_LOG_BYTES, MAX_SAID_BYTES } from './limits.ts';
import { forSystemJournal, type SayLevel } from './platform/system-journal.ts';

/**
 * A logger on a file that is bounded: one file and one older one. Few lines, each written at once,
 * since the last one before a crash is the one that matters.
 *
 * @param mirror Hears each line too, but those with `said`, of which people have heard in other words.
 */
export function openDiagnostics(path: string, mirror?: Say): Logger {
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
    if (mirror) tell(line, mirror);
  };
  return pino(
    { base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime, level: 'debug' },
    { write },
  );
}

/** As much of a line as people need; the file has the rest. */
function tell(line: string, mirror: Say): void {
  const { level, msg, err, path, why, said } = JSON.parse(line);
  const text = [msg, err?.message, path, why].filter((part) => part !== undefined).join(': ');
  if (!said) mirror(text, level >= 50 ? 'error' : level >= 40 ? 'warn' : 'info');
}

/** Says something to people. */
export type Say = (line: string, level?: SayLevel) => void;

/**
 * Says things to people on stderr, and falls silent when it has said a lot: the stderr of a daemon in the
 * background is its log file, which nothing else keeps small. The journal of systemd keeps itself small.
 *
 * @param isJournal stderr is that journal.
 */
export function sayOnStderr(write: (line: string) => void, isJournal: boolean): Say {
  if (isJournal) return (line, level = 'info') => write(forSystemJournal(line, level));
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
