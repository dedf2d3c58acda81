/** Reads the journal where it lies, newest segment first. Needs no daemon. */
import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { FeedRecord } from './view.ts';

const SEGMENT_NAME = /^mapisync\.(\d{6,9})\.jsonl$/;
const CHUNK_BYTES = 1_048_576;
const NEWLINE = 10;

export interface JournalLine {
  readonly line: string;
  /** `segment:offset` of what comes after it. */
  readonly cursor: string;
}

const segmentPath = (dir: string, segment: number): string =>
  join(dir, `mapisync.${String(segment).padStart(6, '0')}.jsonl`);

/** Numbers of the segments, newest first. Empty if there is no journal. */
export function segments(dir: string): number[] {
  let names: string[];
  try {
    names = readdirSync(dir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  const numbers = names.flatMap((name) => {
    const digits = SEGMENT_NAME.exec(name)?.[1];
    return digits ? [Number(digits)] : [];
  });
  return numbers.sort((a, b) => b - a);
}

/** Whole lines of a segment in order. A last line without its end is still being written. */
export function* journalLines(dir: string, segment: number): Generator<JournalLine> {
  let fd: number;
  try {
    fd = openSync(segmentPath(dir, segment), 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return; // Trimmed meanwhile.
    throw error;
  }
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let rest = Buffer.alloc(0);
    let read = 0;
    for (;;) {
      const size = readSync(fd, chunk, 0, chunk.length, read);
      if (size === 0) return;
      const bytes = Buffer.concat([rest, chunk.subarray(0, size)]);
      const base = read - rest.length;
      read += size;
      let start = 0;
      for (;;) {
        const end = bytes.indexOf(NEWLINE, start);
        if (end < 0) break;
        yield {
          line: bytes.toString('utf8', start, end),
          cursor: `${segment}:${base + end + 1}`,
        };
        start = end + 1;
      }
      rest = bytes.subarray(start);
    }
  } finally {
    closeSync(fd);
  }
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

/** How much is looked through for the end of the last whole line: more than one line can have. */
const TAIL_BYTES = 65_536;

/** The cursor of now; undefined if there is no journal yet. */
export function journalEnd(dir: string): string | undefined {
  const [newest] = segments(dir);
  if (newest === undefined) return undefined;
  const fd = openSync(segmentPath(dir, newest), 'r');
  try {
    const from = Math.max(0, fstatSync(fd).size - TAIL_BYTES);
    const bytes = Buffer.alloc(TAIL_BYTES);
    const size = readSync(fd, bytes, 0, TAIL_BYTES, from);
    return `${newest}:${from + bytes.subarray(0, size).lastIndexOf(NEWLINE) + 1}`;
  } finally {
    closeSync(fd);
  }
}
