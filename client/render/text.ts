/**
 * Text on a terminal: made harmless, measured in columns, cut and filled. Host text passes through
 * printable() before anything else here sees it.
 */
import stringWidth from 'string-width';

// Controls, line and paragraph separators, lone surrogates, and format characters that reorder or
// hide text. The joiner of emoji (U+200D) stays.
const UNSAFE =
  /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;
const NOT_ASCII = /[^\x20-\x7e]/gu;

const escaped = (char: string): string => `\\u{${char.codePointAt(0)?.toString(16)}}`;

/**
 * Host text with everything that a terminal could act on as `\u{..}`.
 *
 * @param unicode false: every character outside ASCII too. In a terminal of another charset the
 * bytes of UTF-8 include its control characters.
 */
export function printable(text: string, unicode = true): string {
  return text.replace(unicode ? UNSAFE : NOT_ASCII, escaped);
}

/** In double quotes, so that where it ends is clear. */
export function quoted(text: string, unicode = true): string {
  return `"${printable(text, unicode).replaceAll('"', '\\"')}"`;
}

const PLAIN = /^[\x20-\x7e]*$/;

/** Measured before: a live table shows the same names again and again. Emptied when it is full. */
const measured = new Map<string, number>();
const MAX_MEASURED = 1024;

/** In columns of a terminal; an East Asian wide character takes two. */
export function width(text: string): number {
  if (PLAIN.test(text)) return text.length;
  let columns = measured.get(text);
  if (columns === undefined) {
    if (measured.size >= MAX_MEASURED) measured.clear();
    columns = stringWidth(text, { countAnsiEscapeCodes: true });
    measured.set(text, columns);
  }
  return columns;
}

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** At most so many columns, cut between what a reader sees as characters. */
export function cut(text: string, columns: number, unicode = true): string {
  if (columns <= 0) return '';
  if (width(text) <= columns) return text;
  const mark = unicode ? '…' : '~';
  let result = '';
  let used = 0;
  for (const { segment } of graphemes.segment(text)) {
    const wide = width(segment);
    if (used + wide > columns - 1) break;
    result += segment;
    used += wide;
  }
  return result + mark;
}

/** Exactly so many columns: cut, then filled with spaces on the right. */
export function left(text: string, columns: number, unicode = true): string {
  const shown = cut(text, columns, unicode);
  return shown + ' '.repeat(Math.max(0, columns - width(shown)));
}

/** Exactly so many columns: cut, then filled with spaces on the left. */
export function right(text: string, columns: number, unicode = true): string {
  const shown = cut(text, columns, unicode);
  return ' '.repeat(Math.max(0, columns - width(shown))) + shown;
}

/** Exactly so many columns, one text at each end; the one on the right is kept longer. */
export function spread(start: string, end: string, columns: number, unicode = true): string {
  const kept = cut(end, columns, unicode);
  const room = columns - width(kept);
  return room < 3 ? right(kept, columns) : `${left(start, room - 2, unicode)}  ${kept}`;
}

/** Lines of at most so many columns, broken at spaces where there are any. */
export function wrap(text: string, columns: number, unicode = true): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (width(longer) <= columns) {
      line = longer;
      continue;
    }
    if (line !== '') lines.push(line);
    line = cut(word, columns, unicode);
  }
  return [...lines, line];
}
