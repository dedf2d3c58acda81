/** Which records of the journal `logs` shows. Pure. */
import { type Level, SEVERITY_NUMBER } from '../protocol/records/record.ts';
import { CliError, EXIT } from './exit.ts';
import { parseRecord } from './journal.ts';
import { logLine } from './render/log-line.ts';
import { makeGlob } from './values.ts';
import type { FeedRecord } from './view.ts';

export interface LogFilterOptions {
  /** Of records, not of when they were written: those of an adopted ring are older. */
  readonly sinceMs?: number;
  readonly untilMs?: number;
  /** The least. */
  readonly level?: Level;
  /** Globs; none: every event. */
  readonly events: readonly string[];
  /** Of a session. */
  readonly id?: string;
  /** A regular expression on the line as people see it. */
  readonly grep?: string;
}

/** @returns The record of a line, if it is one that is asked for. */
export type LogFilter = (line: string) => FeedRecord | 'damaged' | undefined;

/** @throws {CliError} exit 2 for a pattern that makes no sense. */
export function makeLogFilter(options: LogFilterOptions): LogFilter {
  const { sinceMs, untilMs, id } = options;
  const globs = options.events.map(makeGlob);
  const least = SEVERITY_NUMBER[options.level ?? 'debug'];
  const pattern = options.grep === undefined ? undefined : makePattern(options.grep);
  // How the journal goes on after a restart is of no use to others, unless they ask.
  const snapshots = options.events.some((glob) => glob.startsWith('snapshot.'));
  return (line) => {
    if (!snapshots && line.includes('"event_name":"snapshot.')) return undefined;
    if (id !== undefined && !line.includes(id)) return undefined;
    const record = parseRecord(line);
    if (record === undefined) return 'damaged';
    const { event_name: name, level, session } = record;
    if (id !== undefined && session?.id !== id) return undefined;
    if (SEVERITY_NUMBER[level] < least) return undefined;
    if (globs.length > 0 && !globs.some((glob) => glob(name))) return undefined;
    const timeMs = Date.parse(record.time);
    if (sinceMs !== undefined && timeMs < sinceMs) return undefined;
    if (untilMs !== undefined && timeMs > untilMs) return undefined;
    if (pattern && !pattern.test(logLine(record))) return undefined;
    return record;
  };
}

/** Like journalctl: a pattern without capitals finds any. */
function makePattern(text: string): RegExp {
  try {
    return new RegExp(text, /\p{Lu}/u.test(text) ? 'u' : 'iu');
  } catch (error) {
    const why = (error as Error).message.replace(/^Invalid regular expression: /, '');
    throw new CliError(
      EXIT.usage,
      `Cannot read --grep: expected a regular expression, got ${why}`,
      'Put a backslash before characters that are meant as they stand, and quotes around it',
      error,
    );
  }
}
