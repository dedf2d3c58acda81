/** What a user may spell on the command line: durations, times, globs. */
import { CliError, EXIT } from './exit.ts';

const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);
/** What a timer can wait. */
export const MAX_DURATION_MS = 2_147_483_647;

/** `500ms`, `30s`, `10m`, `2h`, `1d`. In milliseconds; undefined if it is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  if (!match) return undefined;
  const ms = Math.round(Number(match[1]) * UNIT_MS.get(match[2]!)!);
  return ms <= MAX_DURATION_MS ? ms : undefined;
}

const RFC_3339 = /^\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:[Zz]|[+-]\d\d:\d\d)?)?$/;

/**
 * RFC 3339 (without an offset: local time), `-10m` or `10m` (ago), `today`, `now`.
 * In milliseconds since 1970; undefined if it is none.
 */
export function parseTime(text: string, now: Date): number | undefined {
  if (text === 'now') return now.getTime();
  if (text === 'today') {
    return new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  }
  const ago = parseDuration(text.replace(/^-/, ''));
  if (ago !== undefined) return now.getTime() - ago;
  if (!RFC_3339.test(text)) return undefined;
  const spelled = text.replace(' ', 'T').toUpperCase();
  // JavaScript reads a bare date as UTC, and a person means the day where he is.
  const time = Date.parse(spelled.length === 10 ? `${spelled}T00:00` : spelled);
  return Number.isNaN(time) ? undefined : time;
}

/** The value of a flag that takes a time. @throws {CliError} exit 2 if it is none. */
export function readTime(flag: string, text: string): number {
  const time = parseTime(text, new Date());
  if (time !== undefined) return time;
  const expected = 'RFC 3339 such as 2026-01-31T10:00:00Z, a duration ago such as 10m, or today';
  throw new CliError(EXIT.usage, `Cannot read ${flag}: expected ${expected}, got "${text}"`);
}

/** `*` any text, `?` any one character; the whole text, whatever its case. Linear in both sizes. */
export function makeGlob(pattern: string): (text: string) => boolean {
  const wanted = [...pattern.toLowerCase()];
  return (text) => {
    const chars = [...text.toLowerCase()];
    let [at, star, mark] = [0, -1, 0];
    for (let i = 0; i < chars.length; ) {
      if (wanted[at] === '*') {
        star = at++;
        mark = i;
      } else if (at < wanted.length && (wanted[at] === '?' || wanted[at] === chars[i])) {
        at++;
        i++;
      } else if (star >= 0) {
        // The newest star takes one more.
        at = star + 1;
        i = ++mark;
      } else return false;
    }
    while (wanted[at] === '*') at++;
    return at === wanted.length;
  };
}

/** The candidate that was most likely meant; undefined if none is near. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(word.length * 0.4)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word, candidate, least);
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** Insertions, deletions and exchanges of a letter; `limit` or more counts as `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const exchanged = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(exchanged, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return Math.min(limit, row[b.length]!);
}
