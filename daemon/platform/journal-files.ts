/** The journal on disk: names of segments, cursors, and reading lines back. For its readers too. */
import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';

const SEGMENT_NAME = /^mapisync\.([0-9]{6,9})\.jsonl$/;
const MAX_SEGMENT_NUMBER = 999_999_999;

export const segmentPath = (dir: string, segment: number): string =>
  join(dir, `mapisync.${String(segment).padStart(6, '0')}.jsonl`);

/** Numbers of the segments in a directory, oldest first. */
export function listSegments(dir: string): number[] {
  const numbers: number[] = [];
  for (const name of readdirSync(dir)) {
    const digits = SEGMENT_NAME.exec(name)?.[1];
    if (digits) numbers.push(Number(digits));
  }
  return numbers.sort((a, b) => a - b);
}

/** A place in the journal: behind the record that ends at `offset` in `segment`. */
export interface Cursor {
  readonly segment: number;
  readonly offset: number;
}

export const isBefore = (a: Cursor, b: Cursor): boolean =>
  a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);

export const formatCursor = ({ segment, offset }: Cursor): string => `${segment}:${offset}`;

/** @returns undefined if the text is no cursor. */
export function parseCursor(text: string): Cursor | undefined {
  const match = /^([0-9]{1,9}):([0-9]{1,15})$/.exec(text);
  if (!match) return undefined;
  const segment = Number(match[1]);
  return segment <= MAX_SEGMENT_NUMBER ? { segment, offset: Number(match[2]) } : undefined;
}

/** @returns undefined if there is no such file. What it holds may be no cursor. */
export function readCursorFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}

/** Replaces the file whole, so that it holds the old place or the new one. */
export function writeCursorFile(path: string, cursor: Cursor): void {
  // A name that the journal's retention takes for no reader.
  const scratch = join(dirname(path), `.${basename(path)}.new`);
  writeFileSync(scratch, `${formatCursor(cursor)}\n`, { mode: 0o600 });
  renameSync(scratch, path);
}

const CHUNK_BYTES = 262_144;
const NEWLINE = 10;

/**
 * Whole lines of a segment from an offset on, each with the offset behind it. What stands behind
 * the last newline is no line: it is still being written, or was torn.
 */
export function* readLines(
  path: string,
  from = 0,
  end = Number.POSITIVE_INFINITY,
): Generator<{ line: string; end: number }> {
  const fd = openSync(path, 'r');
  try {
    let rest: Buffer = Buffer.alloc(0);
    let at = from;
    for (;;) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Math.max(0, end - at)));
      const size = chunk.length === 0 ? 0 : readSync(fd, chunk, 0, chunk.length, at);
      if (size === 0) return;
      const bytes =
        rest.length === 0
          ? chunk.subarray(0, size)
          : Buffer.concat([rest, chunk.subarray(0, size)]);
      const base = at - rest.length;
      at += size;
      let start = 0;
      for (;;) {
        const newline = bytes.indexOf(NEWLINE, start);
        if (newline < 0) break;
        yield { line: bytes.toString('utf8', start, newline), end: base + newline + 1 };
        start = newline + 1;
      }
      rest = bytes.subarray(start);
    }
  } finally {
    closeSync(fd);
  }
}

export function fileSize(path: string): number {
  const fd = openSync(path, 'r');
  try {
    return fstatSync(fd).size;
  } finally {
    closeSync(fd);
  }
}
