/** Reads the journal where it lies, newest segment first. Needs no daemon. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { listSegments, readLines, segmentPath } from '../daemon/platform/journal-files.ts';
import type { FeedRecord } from './view.ts';

const NEWLINE = 10;

export interface JournalLine {
  readonly line: string;
  /** `segment:offset` of what comes after it. */
  readonly cursor: string;
}

/** Numbers of the segments, newest first. Empty if there is no journal. */
export function segments(dir: string): number[] {
  try {
    return listSegments(dir).reverse();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Whole lines of a segment in order. A last line without its end is still being written. */
export function* journalLines(dir: string, segment: number): Generator<JournalLine> {
  try {
    for (const { line, end } of readLines(segmentPath(dir, segment))) {
      yield { line, cursor: `${segment}:${end}` };
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; // Trimmed meanwhile.
  }
}

/** The journal's own bytes, with the cursor as their last field. */
export function withCursor(line: string, cursor: string): string {
  const brace = line.lastIndexOf('}');
  return `${line.slice(0, brace)},"cursor":${JSON.stringify(cursor)}}`;
}

/** A line as a record; undefined if it is none. */
export function parseRecord(line: string): FeedRecord | undefined {
  try {
    const record: unknown = JSON.parse(line);
    const isRecord =
      typeof record === 'object' && record !== null && 'event_name' in record && 'time' in record;
    return isRecord ? (record as FeedRecord) : undefined;
  } catch {
    return undefined; // A damaged line says nothing; its neighbours still do.
  }
}

/** The newest records of one event, newest first. */
export function newestRecords(
  dir: string,
  event: FeedRecord['event_name'],
  limit: number,
): FeedRecord[] {
  const found: FeedRecord[] = [];
  const mark = `"${event}"`;
  for (const segment of segments(dir)) {
    const here: FeedRecord[] = [];
    for (const { line } of journalLines(dir, segment)) {
      if (!line.includes(mark)) continue; // Most lines need no parsing.
      const record = parseRecord(line);
      if (record?.event_name === event) here.push(record);
    }
    found.push(...here.reverse());
    if (found.length >= limit) break;
  }
  return found.slice(0, limit);
}

/**
 * Where reading has to begin to see every record since a time.
 *
 * @returns A cursor; undefined if nothing is that new.
 */
export function cursorAt(dir: string, sinceMs: number): string | undefined {
  const numbers = segments(dir);
  let first: number | undefined;
  for (const segment of numbers) {
    const [head] = journalLines(dir, segment);
    const record = head && parseRecord(head.line);
    first = segment;
    if (record && Date.parse(record.observed_time ?? record.time) < sinceMs) break;
  }
  if (first === undefined) return undefined;
  let before = `${first}:0`;
  for (const { line, cursor } of journalLines(dir, first)) {
    const record = parseRecord(line);
    // Frames of an adopted ring are older than the lines around them.
    if (record && Date.parse(record.observed_time ?? record.time) >= sinceMs) return before;
    before = cursor;
  }
  return numbers[0] === first ? undefined : before;
}

/** How much is looked through for the end of a line: more than one line can have. */
const LINE_WINDOW_BYTES = 65_536;

/** Where the line begins that holds the byte at `offset`: there itself, if it is the first of one. */
export function lineStart(path: string, offset: number): number {
  const fd = openSync(path, 'r');
  try {
    const end = Math.min(offset, fstatSync(fd).size);
    const bytes = Buffer.alloc(Math.min(end, LINE_WINDOW_BYTES));
    const from = end - bytes.length;
    const size = readSync(fd, bytes, 0, bytes.length, from);
    return from + bytes.subarray(0, size).lastIndexOf(NEWLINE) + 1;
  } finally {
    closeSync(fd);
  }
}

/** The cursor of now; undefined if there is no journal yet. */
export function journalEnd(dir: string): string | undefined {
  const [newest] = segments(dir);
  if (newest === undefined) return undefined;
  return `${newest}:${lineStart(segmentPath(dir, newest), Number.MAX_SAFE_INTEGER)}`;
}
