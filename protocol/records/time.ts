const US_PER_SECOND = 1_000_000;
/** The last microsecond that a Date and our integers both hold. */
const MAX_WALL_US = Number.MAX_SAFE_INTEGER;

let cachedSecond = -1;
/** `2026-01-31T12:34:56.` of `cachedSecond`: most records of a burst share it. */
let cachedText = '';

/** RFC 3339 in UTC with microseconds. What lies before 1970 or after 2255 is clamped. */
export function rfc3339(wallUs: number): string {
  const us = wallUs > 0 ? Math.min(wallUs, MAX_WALL_US) : 0;
  const second = Math.floor(us / US_PER_SECOND);
  if (second !== cachedSecond) {
    cachedText = new Date(second * 1000).toISOString().slice(0, -4);
    cachedSecond = second;
  }
  const fraction = Math.floor(us) - second * US_PER_SECOND + US_PER_SECOND;
  return `${cachedText}${String(fraction).slice(1)}Z`;
}

const PATTERN = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

/** @returns Microseconds since 1970 UTC; `undefined` if `text` is not RFC 3339. */
export function parseRfc3339(text: string): number | undefined {
  const match = PATTERN.exec(text);
  if (match === null) return undefined;
  const ms = Date.parse(`${match[1]}${match[3]}`);
  if (Number.isNaN(ms)) return undefined;
  return ms * 1000 + Number((match[2] ?? '').padEnd(6, '0').slice(0, 6));
}
