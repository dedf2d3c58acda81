/** A watched session as rows of the live table, and as lines that stay when it has ended. Pure. */
import type { ErrorFields, LiveSession } from '../../protocol/records/record.ts';
import type { ErrorTally, Watched } from '../view.ts';
import { type Layout, type Row, renderRow } from './columns.ts';
import { clock, count, grouped, rate } from './numbers.ts';
import { cut, printable } from './text.ts';
import type { Style, Theme } from './theme.ts';

const MARKS: Record<string, readonly [string, Style]> = {
  ok: ['ok', 'green'],
  ok_with_errors: ['!', 'yellow'],
  warned: ['!', 'yellow'],
  failed: ['x', 'red'],
  abandoned: ['x', 'red'],
  cancelled: ['-', 'yellow'],
};

/** Errors shown beneath a session; the rest is counted. */
export const MAX_ERROR_LINES = 3;

const countsOf = ({ progress }: LiveSession): string =>
  progress.max === 0
    ? grouped(progress.index)
    : `${grouped(progress.index)}/${grouped(progress.max)}`;

/** `stalled 1:12: inside Outlook's callback, thread 4711, last call 30/400`. */
export function stallText(live: LiveSession, elapsedUs: number): string {
  const stall = live.stall;
  if (!stall) return 'stalled';
  const since = `stalled ${clock(stall.for_us + elapsedUs)}`;
  const last = live.progress.calls > 0 ? `, last call ${countsOf(live)}` : '';
  if (stall.kind === 'gone') return `${since}: its process is gone${last}`;
  if (stall.kind === 'quiet') return `${since}: no call${last}`;
  const thread = stall.thread === undefined ? '' : `, thread ${stall.thread}`;
  return `${since}: inside Outlook's callback${thread}${last}`;
}

/** The row of a session that runs. */
export function liveRow({ live, atMs }: Watched, nowMs: number, theme: Theme): Row {
  const { progress } = live;
  const elapsedUs = Math.max(0, nowMs - atMs) * 1000;
  const row: Row = {
    mark: '',
    style: 'cyan',
    provider: printable(live.provider ?? live.executable, theme.unicode),
    store: printable(live.store ?? live.id.slice(0, 8), theme.unicode),
    text: printable(progress.text ?? '', theme.unicode),
    percent: '',
    counts: '',
    rate: progress.rate_per_s === undefined ? '' : rate(progress.rate_per_s),
    eta: progress.eta_s === undefined ? '' : `eta ${clock(progress.eta_s * 1_000_000)}`,
  };
  if (live.state === 'stalled') {
    const start = stallText(live, elapsedUs);
    return { ...row, style: 'yellow', span: { start, end: '', from: 'bar', to: 'eta' } };
  }
  if (live.done) {
    const start = `done: ${printable(live.done.name, theme.unicode)}`;
    return { ...row, span: { start, end: '', from: 'bar', to: 'eta' } };
  }
  if (progress.calls === 0) {
    return { ...row, span: { start: 'no call yet', end: '', from: 'bar', to: 'counts' } };
  }
  if (progress.percent === null) {
    const start = `${grouped(progress.index)} (no total)`;
    return { ...row, span: { start, end: '', from: 'bar', to: 'counts' } };
  }
  return {
    ...row,
    fraction: progress.percent / 100,
    percent: `${Math.floor(progress.percent)}%`,
    counts: countsOf(live),
  };
}

/** Why a session did not end ok: its own errors where they are the reason. */
function reasonOf(live: LiveSession): string {
  if (live.outcome === 'ok_with_errors' || live.outcome === 'warned') {
    const warnings = live.warnings > 0 ? `, ${count(live.warnings, 'warning')}` : '';
    return `${count(live.errors, 'error')}${warnings}, ${countsOf(live)}`;
  }
  return `${live.outcome_reason ?? 'it is not known why'}, last ${countsOf(live)}`;
}

/** The row of a session that has ended. */
export function endedRow({ live }: Watched, theme: Theme): Row {
  const outcome = live.outcome ?? 'failed';
  const [mark, style] = MARKS[outcome] ?? ['x', 'red'];
  const detail = outcome === 'ok' ? countsOf(live) : `${outcome}: ${reasonOf(live)}`;
  return {
    mark,
    style,
    provider: printable(live.provider ?? live.executable, theme.unicode),
    store: printable(live.store ?? live.id.slice(0, 8), theme.unicode),
    text: '',
    percent: '',
    counts: '',
    rate: '',
    eta: '',
    span: {
      start: printable(detail, theme.unicode),
      end: clock(live.duration_us),
      from: outcome === 'ok' ? 'bar' : 'text',
      to: 'eta',
    },
  };
}

/** The row of a session that nobody saw end. */
export function unknownRow({ live }: Watched, theme: Theme): Row {
  const detail = `no end in the journal, last ${countsOf(live)}`;
  const end = clock(live.duration_us);
  return {
    ...endedRow({ live, atMs: 0, errors: new Map(), otherErrors: 0 }, theme),
    mark: '?',
    style: 'dim',
    span: { start: detail, end, from: 'text', to: 'eta' },
  };
}

/** `MAPI_E_NETWORK_ERROR 0x80040115`; a name that is only the number is not said twice. */
export function errorName(error: ErrorFields): string {
  return error.name === error.hresult ? error.hresult : `${error.name} ${error.hresult}`;
}

function errorLine({ error, times }: ErrorTally, room: number, theme: Theme): string {
  const kind = error.severity === 'success' ? 'warning' : error.class;
  const head = `      !  ${printable(errorName(error), theme.unicode)}${times > 1 ? ` x${times}` : ''} (${kind})`;
  const text = error.text ? `  ${printable(error.text, theme.unicode)}` : '';
  const start = cut(head, room, theme.unicode);
  const style = error.severity === 'success' ? 'yellow' : 'red';
  return (
    theme.paint(style, start) + theme.paint('dim', cut(text, room - start.length, theme.unicode))
  );
}

/** The lines beneath a session: each code once, the newest last. */
export function errorLines(session: Watched, room: number, theme: Theme): string[] {
  const all = [...session.errors.values()];
  const shown = all.slice(-MAX_ERROR_LINES);
  const hidden = all.slice(0, all.length - shown.length);
  const others = hidden.reduce((sum, { times }) => sum + times, session.otherErrors);
  const lines = shown.map((tally) => errorLine(tally, room, theme));
  if (others > 0) {
    const text = cut(`      !  and ${count(others, 'earlier error')}`, room, theme.unicode);
    lines.unshift(theme.paint('dim', text));
  }
  return lines;
}

/** What stays on the screen of a session that has ended. */
export function endedLines(session: Watched, layout: Layout, theme: Theme): string[] {
  const row = renderRow(endedRow(session, theme), layout, theme);
  return [row, ...errorLines(session, layout.room, theme)];
}
