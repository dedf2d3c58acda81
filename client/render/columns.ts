/**
 * The columns of the live table: how wide each is, and which are left out, so that every row lines up
 * and fits any width. Pure.
 */

import { left, right, spread, width } from './text.ts';
import type { Style, Theme } from './theme.ts';

export type Column =
  | 'mark'
  | 'provider'
  | 'store'
  | 'text'
  | 'bar'
  | 'percent'
  | 'counts'
  | 'rate'
  | 'eta';

/** One row, in text that is safe to show. */
export interface Row {
  readonly mark: string;
  readonly style: Style;
  readonly provider: string;
  readonly store: string;
  readonly text: string;
  /** 0 to 1; absent where the row has a span. */
  readonly fraction?: number;
  readonly percent: string;
  readonly counts: string;
  readonly rate: string;
  readonly eta: string;
  /** Takes the place of the columns from `from` to `to`. */
  readonly span?: {
    readonly start: string;
    readonly end: string;
    readonly from: Column;
    readonly to: Column;
  };
}

interface Rule {
  /** Narrowest width at which the column is worth its place. */
  readonly min: number;
  /** Widest that it grows to, however long its content. */
  readonly max: number;
}

const ORDER: readonly Column[] = [
  'mark',
  'provider',
  'store',
  'text',
  'bar',
  'percent',
  'counts',
  'rate',
  'eta',
];
const RULES: Record<Column, Rule> = {
  mark: { min: 2, max: 2 },
  provider: { min: 8, max: 16 },
  store: { min: 10, max: 24 },
  text: { min: 10, max: 40 },
  bar: { min: 8, max: 24 },
  percent: { min: 4, max: 4 },
  counts: { min: 3, max: 27 },
  rate: { min: 3, max: 11 },
  eta: { min: 4, max: 14 },
};
/** Content of these can't be cut without changing what it says. */
const WHOLE: ReadonlySet<Column> = new Set(['mark', 'percent', 'counts', 'rate', 'eta']);
const RIGHT: ReadonlySet<Column> = new Set(['percent', 'counts', 'rate']);
/** What goes first when there is no room; the rest always stays. */
const DISPENSABLE: readonly Column[] = ['eta', 'rate', 'bar', 'counts', 'provider', 'text'];
/** Who gets the room that is left. */
const GROWING: readonly Column[] = ['store', 'provider', 'text', 'bar'];
const GAP = 2;
export const MIN_COLUMNS = 24;
/** Where rows are so short that they leave out what other commands tell. */
export const NARROW_COLUMNS = 60;

/** Width of each column; 0 for one that is left out. */
type Widths = Record<Column, number>;

export interface Layout {
  readonly widths: Readonly<Widths>;
  /** What a line may take at most. */
  readonly room: number;
}

/** Width of some columns, with the gaps between them. */
function widthOf(widths: Widths, columns: readonly Column[]): number {
  const shown = columns.filter((column) => widths[column] > 0);
  return shown.reduce((sum, column) => sum + widths[column], GAP * Math.max(0, shown.length - 1));
}

function wanted(rows: readonly Row[], column: Column): number {
  const { max } = RULES[column];
  if (column === 'bar') return rows.some((row) => row.fraction !== undefined) ? max : 0;
  let most = 0;
  for (const row of rows) most = Math.max(most, width(row[column]));
  return Math.min(most, max);
}

/** No span takes their place. */
const BEFORE_SPAN: readonly Column[] = ['mark', 'provider', 'store'];
/** What spans need to say the most important: an outcome and a time. */
const SPAN_COLUMNS = 20;

function spanWidth(rows: readonly Row[]): number {
  let most = 0;
  for (const { span } of rows) {
    if (span) most = Math.max(most, width(span.start) + GAP + width(span.end));
  }
  return Math.min(most, SPAN_COLUMNS);
}

/**
 * @param columns Of the terminal.
 * @param before The last layout: numbers keep their place, since a column that held a longer one
 * does not shrink again.
 * @param least Narrower terminals are taken for one of this width.
 */
export function layOut(
  rows: readonly Row[],
  columns: number,
  before?: Layout,
  least = MIN_COLUMNS,
): Layout {
  const room = Math.max(columns, least) - 1; // The last column makes some terminals wrap.
  const want = {} as Widths;
  for (const column of ORDER) {
    const kept = WHOLE.has(column) ? (before?.widths[column] ?? 0) : 0;
    want[column] = Math.max(wanted(rows, column), kept);
  }
  want.mark = RULES.mark.max;
  const widths = {} as Widths;
  for (let dropped = 0; ; dropped++) {
    const out = DISPENSABLE.slice(0, dropped);
    for (const column of ORDER) {
      const narrow = WHOLE.has(column) ? want[column] : Math.min(want[column], RULES[column].min);
      widths[column] = out.includes(column) ? 0 : narrow;
    }
    if (widthOf(widths, ORDER) <= room || dropped === DISPENSABLE.length) break;
  }
  // How a session ended counts for more than whose it was.
  const spans = spanWidth(rows);
  const beside = (): number => room - widthOf(widths, BEFORE_SPAN) - GAP - spans;
  if (beside() < 0) widths.provider = 0;
  for (const column of GROWING) {
    if (widths[column] === 0) continue;
    const left = room - widthOf(widths, ORDER);
    const spare = BEFORE_SPAN.includes(column) ? Math.min(left, beside()) : left;
    widths[column] = Math.min(want[column], widths[column] + Math.max(0, spare));
  }
  return { widths, room };
}

export function bar(fraction: number, columns: number, theme: Theme): readonly [string, string] {
  const filled = Math.min(columns, Math.max(0, Math.floor(fraction * columns)));
  return [theme.bar.filled.repeat(filled), theme.bar.empty.repeat(columns - filled)];
}

function cell(row: Row, column: Column, { widths }: Layout, theme: Theme): string {
  const columns = widths[column];
  if (column === 'bar') {
    if (row.fraction === undefined) return ' '.repeat(columns);
    const [filled, empty] = bar(row.fraction, columns, theme);
    return theme.paint(row.style, filled) + theme.paint('dim', empty);
  }
  const fill = RIGHT.has(column) ? right : left;
  const shown = fill(row[column], columns, theme.unicode);
  if (column === 'mark') return theme.paint(row.style, shown);
  return column === 'provider' || column === 'eta' ? theme.paint('dim', shown) : shown;
}

const join = (cells: readonly string[]): string => cells.join(' '.repeat(GAP)).trimEnd();

/** One line, at most as wide as the layout's room. */
export function renderRow(row: Row, layout: Layout, theme: Theme): string {
  const { widths, room } = layout;
  const shown = ORDER.filter((column) => widths[column] > 0);
  if (!row.span) return join(shown.map((column) => cell(row, column, layout, theme)));
  const { start, end, from, to } = row.span;
  const need = width(start) + width(end) + (start && end ? GAP : 0);
  let after = shown.filter((column) => ORDER.indexOf(column) > ORDER.indexOf(to));
  let within = shown.filter(
    (column) => ORDER.indexOf(column) >= ORDER.indexOf(from) && !after.includes(column),
  );
  // Where its own columns are too narrow, it takes those of the text, then those behind it.
  if (widthOf(widths, within) < need && from !== 'text') within = ['text', ...within];
  if (widthOf(widths, within) < need) [within, after] = [[...within, ...after], []];
  const before = shown.filter((column) => !within.includes(column) && !after.includes(column));
  let columns = widthOf(widths, within);
  const spare = room - widthOf(widths, before) - (before.length > 0 ? GAP : 0);
  if (after.length === 0) columns = Math.min(spare, Math.max(columns, need));
  const text = end
    ? spread(start, end, columns, theme.unicode)
    : left(start, columns, theme.unicode);
  return join([
    ...before.map((column) => cell(row, column, layout, theme)),
    theme.paint(row.style, text.trimEnd() === text || after.length > 0 ? text : text.trimEnd()),
    ...after.map((column) => cell(row, column, layout, theme)),
  ]);
}
