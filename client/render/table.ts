/** The part of the screen that is drawn again and again: rows, errors, a foot. Pure. */
import type { View, Watched } from '../view.ts';
import { type Layout, layOut, renderRow } from './columns.ts';
import { grouped } from './numbers.ts';
import { endedRow, errorLines, liveRow } from './session-row.ts';
import { cut, spread, width } from './text.ts';
import type { Theme } from './theme.ts';

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export interface Table {
  readonly lines: readonly string[];
  /** How ended sessions line up with it. */
  readonly layout: Layout;
}

/** How much a session deserves a place: calls a second, and standing still above all. */
function urgency({ live }: Watched): number {
  if (live.state === 'stalled') return Number.POSITIVE_INFINITY;
  const rate = live.progress.rate_per_s ?? 0;
  return rate - live.since_last_call_us / 60_000_000;
}

/** The busiest, in the order in which they began. */
function busiest(sessions: readonly Watched[], places: number): readonly Watched[] {
  if (sessions.length <= places) return sessions;
  const kept = new Set(
    [...sessions].sort((a, b) => compare(urgency(b), urgency(a))).slice(0, places),
  );
  return sessions.filter((session) => kept.has(session));
}

// Infinity minus itself is no order.
const compare = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);

export interface TableOptions {
  readonly view: View;
  /** Sessions about to scroll up, so that the columns fit them too. */
  readonly ending: readonly Watched[];
  readonly size: Size;
  readonly nowMs: number;
  readonly theme: Theme;
  /** On the right of the foot. */
  readonly daemon: string;
  readonly before?: Layout;
}

/** @returns As many lines as fit, the foot last. */
export function renderTable(options: TableOptions): Table {
  const { view, ending, size, nowMs, theme } = options;
  const sessions = [...view.sessions.values()];
  // One line for the foot, and one that the cursor may need below.
  const places = Math.max(1, size.rows - 2);
  const shown = busiest(sessions, places);
  const rows = shown.map((session) => liveRow(session, nowMs, theme));
  const all = [...rows, ...ending.map((session) => endedRow(session, theme))];
  const layout = layOut(all, size.columns, options.before);
  const hidden = sessions.length - shown.length;

  let spare = places - shown.length;
  const lines: string[] = [];
  shown.forEach((session, index) => {
    lines.push(renderRow(rows[index]!, layout, theme));
    const errors = errorLines(session, layout.room, theme).slice(-Math.max(0, spare));
    if (spare <= 0) return;
    spare -= errors.length;
    lines.push(...errors);
  });
  const counted = hidden > 0 ? `${foot(view)}, ${grouped(hidden)} not shown` : foot(view);
  const fits = width(counted) + 2 + width(options.daemon) <= layout.room;
  // What is shown is of no use without the word that it stands still.
  const kept = view.isLost ? `${options.daemon}, ${counted}` : counted;
  const end = fits
    ? spread(counted, options.daemon, layout.room, theme.unicode)
    : cut(kept, layout.room, theme.unicode);
  lines.push(theme.paint('dim', end));
  return { lines: lines.slice(-size.rows), layout };
}

/** `3 running, 1 stalled, 1 ended`. */
export function foot(view: View): string {
  const sessions = [...view.sessions.values()];
  const stalled = sessions.filter(({ live }) => live.state === 'stalled').length;
  const parts = [`${grouped(sessions.length - stalled)} running`];
  if (stalled > 0) parts.push(`${grouped(stalled)} stalled`);
  if (view.endedCount > 0) parts.push(`${grouped(view.endedCount)} ended`);
  return parts.join(', ');
}

/** For the task bar: percent of all sessions together, absent if no total is known. */
export function overall(view: View): { percent: number | undefined; stalled: boolean } {
  let [index, max] = [0, 0];
  let stalled = false;
  for (const { live } of view.sessions.values()) {
    if (live.state === 'stalled') stalled = true;
    if (live.progress.percent === null) continue;
    index += Math.min(live.progress.index, live.progress.max);
    max += live.progress.max;
  }
  return { percent: max > 0 ? Math.floor((100 * index) / max) : undefined, stalled };
}
