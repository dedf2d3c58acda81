/**
 * Reads the journal on from a place, across segments, whether a daemon writes it or not.
 *
 * What always holds: a line is given once it is whole, in the order of the journal, with the place behind
 * it. A place that is gone is said, and reading goes on with what is left. A line may come twice where a
 * daemon had to take back what it had written, never not at all.
 */
import { type Cursor, readLines, segmentPath } from '../daemon/platform/journal-files.ts';
import { lineStart, segments } from './journal.ts';

export type Passage =
  | { readonly type: 'line'; readonly line: string; readonly end: Cursor }
  /** What stood behind `from` was deleted up to `to`, which is the oldest that is left. */
  | { readonly type: 'lost'; readonly from: Cursor; readonly to: Cursor };

/**
 * Everything behind a place that stands there by now.
 *
 * @param from undefined: the oldest record.
 * @returns Where to go on from; undefined if there is no journal yet.
 */
export function* readOn(
  dir: string,
  from: Cursor | undefined,
): Generator<Passage, Cursor | undefined> {
  const numbers = segments(dir).reverse();
  const [oldest] = numbers;
  if (oldest === undefined) return from;
  let at: Cursor = from ?? { segment: oldest, offset: 0 };
  // Deleted for their age or size; or all of them, after which numbers begin anew.
  if (at.segment < oldest || at.segment > numbers.at(-1)!) {
    const to = { segment: oldest, offset: 0 };
    yield { type: 'lost', from: at, to };
    at = to;
  }
  // A number may be left out: recovery deletes a segment that was begun and holds nothing.
  for (const segment of numbers.filter((number) => number >= at.segment)) {
    if (segment !== at.segment) at = { segment, offset: 0 };
    try {
      at = yield* readSegment(dir, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      return yield* readOn(dir, at); // Deleted since we looked.
    }
  }
  return at;
}

function* readSegment(dir: string, { segment, offset }: Cursor): Generator<Passage, Cursor> {
  const path = segmentPath(dir, segment);
  let at = { segment, offset: lineStart(path, offset) };
  for (const { line, end } of readLines(path, at.offset)) {
    at = { segment, offset: end };
    yield { type: 'line', line, end: at };
  }
  return at;
}

/**
 * Where to begin, so that so many lines that are wanted follow.
 *
 * @param from Nothing before it counts; undefined: the oldest record.
 * @returns `from`, if there are not so many.
 */
export function beforeNewest(
  dir: string,
  from: Cursor | undefined,
  lines: number,
  isWanted: (line: string) => boolean,
): Cursor | undefined {
  let missing = lines;
  for (const segment of segments(dir)) {
    if (from !== undefined && segment < from.segment) break;
    const places: Cursor[] = [];
    let at: Cursor = { segment, offset: segment === from?.segment ? from.offset : 0 };
    if (missing > 0) {
      for (const passage of readSegment(dir, at)) {
        if (passage.type !== 'line') continue;
        if (isWanted(passage.line)) places.push(at);
        at = passage.end;
      }
    } else at = { segment, offset: lineStart(segmentPath(dir, segment), Number.MAX_SAFE_INTEGER) };
    if (missing === 0) return at;
    if (places.length >= missing) return places[places.length - missing];
    missing -= places.length;
  }
  return from;
}
