/** Reads the journal's segments from a cursor on, up to what is durable. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { FinishedRecord } from '../../protocol/records/line.ts';
import {
  type Cursor,
  listSegments,
  parseCursor,
  readCursorFile,
  readLines,
  segmentPath,
  writeCursorFile,
} from '../platform/journal-files.ts';
import { MAX_BATCH_BYTES, MAX_BATCH_RECORDS } from './limits.ts';

export interface Batch {
  readonly records: readonly FinishedRecord[];
  /** Behind everything that was read, snapshots included. */
  readonly end: Cursor;
}

/** What is of no use outside: how the journal itself goes on after a restart. */
const SNAPSHOT = '"event_name":"snapshot.';

/**
 * The next records behind `from`. Where the journal was deleted meanwhile it goes on with what is left.
 *
 * @param until Nothing behind it is read.
 */
export function readBatch(dir: string, from: Cursor, until: Cursor): Batch {
  const records: FinishedRecord[] = [];
  let bytes = 0;
  let end = from;
  for (const segment of listSegments(dir)) {
    if (segment < from.segment || segment > until.segment) continue;
    const start = segment === from.segment ? from.offset : 0;
    const stop = segment === until.segment ? until.offset : Number.POSITIVE_INFINITY;
    end = { segment, offset: start };
    for (const { line, end: offset } of linesOf(segmentPath(dir, segment), start, stop)) {
      end = { segment, offset };
      if (line.includes(SNAPSHOT)) continue;
      const record = parse(line);
      if (record === undefined) continue;
      records.push(record);
      bytes += line.length;
      if (records.length >= MAX_BATCH_RECORDS || bytes >= MAX_BATCH_BYTES) return { records, end };
    }
  }
  return { records, end };
}

/**
 * Behind the last record that stays, of a journal that a daemon may be writing: what recovery would cut off
 * comes again, and a snapshot that is not finished goes with its segment.
 *
 * @param from Such a place; the search begins there.
 * @returns `from` if there is none behind it.
 */
export function settledEnd(dir: string, from: Cursor): Cursor {
  const segment = listSegments(dir).at(-1) ?? from.segment;
  let end = segment === from.segment ? from : { segment, offset: 0 };
  for (const { line, end: offset } of linesOf(segmentPath(dir, segment), end.offset)) {
    if (isSettled(line)) end = { segment, offset };
  }
  return end;
}

function isSettled(line: string): boolean {
  if (line.includes(SNAPSHOT)) return line.includes('"event_name":"snapshot.end"');
  if (!line.includes('"group":')) return true; // Most lines need no parsing.
  const group = parse(line)?.group;
  return group === undefined || group.n === group.of;
}

function* linesOf(
  path: string,
  from: number,
  to = Number.POSITIVE_INFINITY,
): Generator<{ line: string; end: number }> {
  try {
    yield* readLines(path, from, to);
  } catch (error) {
    // Deleted between the listing and now: what it held is said by `journal.trimmed`.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** @returns undefined for a damaged line: it says nothing, its neighbours still do. */
function parse(line: string): FinishedRecord | undefined {
  try {
    return JSON.parse(line) as FinishedRecord;
  } catch {
    return undefined;
  }
}

/** Bytes of the journal between two places. */
export function bytesBetween(dir: string, from: Cursor, until: Cursor): number {
  let bytes = 0;
  for (const segment of listSegments(dir)) {
    if (segment < from.segment || segment > until.segment) continue;
    const start = segment === from.segment ? from.offset : 0;
    const stop = segment === until.segment ? until.offset : sizeOf(segmentPath(dir, segment));
    bytes += Math.max(0, stop - start);
  }
  return bytes;
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    return 0; // Deleted meanwhile.
  }
}

/** A reader's saved place: replaced whole, so that it is the old one or the new one. */
export class SavedCursor {
  readonly #path: string;

  constructor(dir: string, name: string) {
    this.#path = join(dir, name);
  }

  /** @returns The beginning, if nothing was saved yet or it makes no sense. */
  load(): Cursor {
    return parseCursor(readCursorFile(this.#path) ?? '') ?? { segment: 0, offset: 0 };
  }

  save(cursor: Cursor): void {
    writeCursorFile(this.#path, cursor);
  }
}
