/** Which records of the journal `logs` shows. Pure. */
import { createRequire } from 'node:module';
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

/** @returns The record of a line, if it is one that is asked for; `later`: but for `untilMs` it may be. */
export type LogFilter = (line: string) => FeedRecord | 'damaged' | 'later' | undefined;

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
    if (sinceMs !== undefined && Date.parse(record.time) < sinceMs) return undefined;
    if (untilMs !== undefined && Date.parse(record.time) > untilMs) return 'later';
    if (pattern && !pattern(logLine(record))) return undefined;
    return record;
  };
}

/** Loaded when needed: most calls have no pattern. */
const re2 = (): typeof import('re2js') => createRequire(import.meta.url)('re2js');

/**
 * Like journalctl: a pattern without capitals finds any. By RE2, whose time is linear in the line: with the
 * expressions of JavaScript a pattern such as `(a+)+$` would never come back.
 */
function makePattern(text: string): (line: string) => boolean {
  const { RE2JS } = re2();
  try {
    const flags = /\p{Lu}/u.test(text) ? 0 : RE2JS.CASE_INSENSITIVE;
    const pattern = RE2JS.compile(text, flags);
    return (line) => pattern.test(line);
  } catch (error) {
    const why = (error as Error).message.replace(/^error parsing regexp: /, '');
    throw new CliError(
      EXIT.usage,
      `Cannot read --grep: expected a regular expression of RE2, got ${JSON.stringify(text)}: ${why}`,
      'Put a backslash before characters that are meant as they stand, and quotes around it',
      error,
    );
  }
}
