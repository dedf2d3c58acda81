/** `sessions`: which there are and how they ended, from the journal. Needs no daemon. */
import { escapeLine } from '../../protocol/records/text.ts';
import { CliError, EXIT } from '../exit.ts';
import { findHistory } from '../history.ts';
import type { Io } from '../io.ts';
import { say } from '../messages.ts';
import { layOut, MIN_COLUMNS, NARROW_COLUMNS, type Row, renderRow } from '../render/columns.ts';
import { clock } from '../render/numbers.ts';
import { PlainLines } from '../render/plain.ts';
import { endedRow, liveRow, unknownRow } from '../render/session-row.ts';
import { makeSelector, OUTCOMES } from '../selection.ts';
import { type ListedSession, listSessions } from '../session-list.ts';
import type { Settings } from '../settings.ts';
import { nearest } from '../values.ts';
import { glance } from '../view.ts';

export interface SessionsOptions {
  readonly sinceMs?: number;
  /** Outcomes, or states of what has not ended; none: all. */
  readonly outcomes: readonly string[];
  readonly provider?: string;
  readonly store?: string;
  readonly limit: number;
  readonly journal?: string;
}

const PIPE_COLUMNS = 120;
/** As much of an id as tells it from the others, but at least so much; less where it is narrow. */
const ID_CHARS = 8;
const NARROW_ID_CHARS = 4;
const GAP = '  ';

export async function sessions(
  options: SessionsOptions,
  settings: Settings,
  io: Io,
): Promise<number> {
  const isWanted = makeFilter(options);
  const { sinceMs, limit } = options;
  const history = findHistory(options.journal, settings, io);
  const listed = listSessions(history, {
    limit,
    ...(sinceMs === undefined ? {} : { sinceMs }),
    isWanted,
  });
  const lines =
    settings.output === 'json'
      ? listed.map(jsonLine)
      : settings.output === 'tty'
        ? tableLines(listed, settings, io)
        : plainLines(listed, settings);
  if (lines.length > 0) await io.stdout.write(`${lines.join('\n')}\n`);
  else if (settings.verbosity >= 0) say(io, `No such session in ${history.dir}`);
  return EXIT.done;
}

/** @throws {CliError} exit 2 */
export function makeFilter(
  options: Pick<SessionsOptions, 'outcomes' | 'provider' | 'store'>,
): (session: ListedSession) => boolean {
  const outcomes = new Set(options.outcomes.map(checkOutcome));
  const { provider, store } = options;
  const selector = makeSelector({
    all: false,
    ...(provider === undefined ? {} : { provider }),
    ...(store === undefined ? {} : { store }),
  });
  return ({ live, state }) =>
    selector.session(live) &&
    (outcomes.size === 0 || outcomes.has(state === 'ended' ? (live.outcome ?? '') : state));
}

const STATES = ['running', 'stalled', 'unknown'];

function checkOutcome(text: string): string {
  const known = [...OUTCOMES, ...STATES];
  if (known.includes(text)) return text;
  const near = nearest(text, known);
  throw new CliError(
    EXIT.usage,
    `Cannot read --outcome: expected one of ${known.join(', ')}, got "${text}"`,
    near && `Did you mean ${near}?`,
  );
}

const jsonLine = ({ live, state, end }: ListedSession): string =>
  escapeLine(JSON.stringify({ ...live, state, ...(end ? { ended: end.time } : {}) }));

/** As `tail` has them in a pipe. */
export function plainLines(listed: readonly ListedSession[], settings: Settings): string[] {
  const { theme, verbosity } = settings;
  const lines = new PlainLines({ unicode: theme.unicode, verbosity });
  return listed.map(({ live, state, end }) => {
    if (end) return lines.record(end) ?? '';
    return state === 'unknown' ? lines.unknown(live) : lines.running(live);
  });
}

function tableLines(listed: readonly ListedSession[], settings: Settings, io: Io): string[] {
  const { theme } = settings;
  const nowMs = io.nowMs();
  const columns = io.stdout.columns || PIPE_COLUMNS;
  const isNarrow = columns < NARROW_COLUMNS;
  const rows = listed.map(({ live, state, end }): Row => {
    const watched = glance(live, nowMs);
    if (state === 'unknown') return unknownRow(watched, theme);
    if (!end) return liveRow(watched, nowMs, theme);
    const row = endedRow(watched, theme);
    // How it ended comes first.
    if (isNarrow) return row;
    const ago = clock((Date.now() - Date.parse(end.time)) * 1000);
    return { ...row, span: { ...row.span!, end: `${row.span!.end}  ${ago} ago` } };
  });
  const chars = idChars(
    listed.map(({ live }) => live.id),
    isNarrow ? NARROW_ID_CHARS : ID_CHARS,
  );
  const own = chars + GAP.length;
  const layout = layOut(rows, columns - own, undefined, MIN_COLUMNS - own);
  return rows.map((row, index) => {
    const id = theme.paint('dim', listed[index]!.live.id.slice(0, chars));
    return id + GAP + renderRow(row, layout, theme);
  });
}

function idChars(ids: readonly string[], least: number): number {
  let chars = least;
  while (chars < 16 && new Set(ids.map((id) => id.slice(0, chars))).size < ids.length) chars += 1;
  return chars;
}
