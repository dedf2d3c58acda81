/**
 * What a daemon does with the journal that it finds: fold it from the newest whole snapshot on, and
 * cut what was not finished.
 */
import { closeSync, fsyncSync, openSync, truncateSync, unlinkSync } from 'node:fs';
import type { RecordDraft } from '../protocol/records/record.ts';
import { fileSize, listSegments, readLines, segmentPath } from './platform/journal-files.ts';

/** A record as it is read back. */
export type StoredRecord = RecordDraft & { readonly event_id: string };

export interface Recovered {
  /** The segment to go on with; no file of it exists. */
  readonly nextSegment: number;
  /** Lines that were cut or could not be read. */
  readonly torn: number;
  /** Records that were folded. */
  readonly records: number;
}

/**
 * Reads the journal and gives each record since the newest whole snapshot to `fold`, that snapshot
 * first. A torn last line, an incomplete group and a segment without a whole snapshot go: nothing of
 * them was acknowledged.
 */
export function recover(dir: string, fold: (record: StoredRecord) => void): Recovered {
  const segments = listSegments(dir);
  const nextSegment = (segments.at(-1) ?? 0) + 1;
  let torn = 0;
  let records = 0;
  const base = segments.findLastIndex((segment) => opensWhole(segmentPath(dir, segment)));
  for (const segment of segments.slice(Math.max(base, 0))) {
    const path = segmentPath(dir, segment);
    const whole = segment === segments[base];
    torn += cutTail(path);
    let useful = whole;
    for (const { line } of readLines(path)) {
      const record = parse(line);
      if (!record) {
        torn += 1;
        continue;
      }
      // A snapshot that was not finished says less than the segment before it.
      if (!whole && record.event_name.startsWith('snapshot.')) continue;
      useful = true;
      fold(record);
      records += 1;
    }
    if (useful) syncFile(path);
    else {
      unlinkSync(path);
      // Else it may come back, torn, before a newer segment that recovery then begins with.
      if (process.platform !== 'win32') syncFile(dir, 'r');
    }
  }
  return { nextSegment, torn, records };
}

/** What is acknowledged from now on may rest on lines that the dead daemon never synced. */
function syncFile(path: string, flags = 'r+'): void {
  const fd = openSync(path, flags);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function opensWhole(path: string): boolean {
  let begun = false;
  for (const { line } of readLines(path)) {
    const name = parse(line)?.event_name;
    if (!begun && name !== 'snapshot.begin') return false;
    if (name === 'snapshot.end') return true;
    if (!name?.startsWith('snapshot.')) return false;
    begun = true;
  }
  return false;
}

/** Cuts a torn line and an incomplete group off the end. @returns how many lines. */
function cutTail(path: string): number {
  /** Where the last whole record or group ends. */
  let keep = 0;
  let at = 0;
  /** Lines behind `keep`: of a group that is not complete yet. */
  let open = 0;
  for (const { line, end } of readLines(path)) {
    at = end;
    const group = parse(line)?.group;
    if (group && group.n < group.of) open += 1;
    else {
      keep = end;
      open = 0;
    }
  }
  const size = fileSize(path);
  const torn = size > at ? 1 : 0;
  if (keep < size) truncateSync(path, keep);
  return open + torn;
}

function parse(line: string): StoredRecord | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null) return undefined;
    const { event_name, v } = value as { event_name?: unknown; v?: unknown };
    return typeof event_name === 'string' && v === 1 ? (value as StoredRecord) : undefined;
  } catch {
    return undefined;
  }
}
