/** `show`: one session on one screen. Pure. */
import type { LiveSession } from '../../protocol/records/record.ts';
import { durationText } from '../../protocol/session/drafts.ts';
import {
  type Story,
  type StoryCheck,
  type StoryPhase,
  SURE_SILENCE_US,
} from '../../protocol/session/story.ts';
import { callText, exitCodeText, percent } from '../../protocol/session/verdict.ts';
import type { Watched } from '../view.ts';
import { bar, layOut, renderRow } from './columns.ts';
import { count, grouped } from './numbers.ts';
import { endedRow, errorName, liveRow } from './session-row.ts';
import { cut, left, printable, right, width, wrap } from './text.ts';
import type { Theme } from './theme.ts';

export interface ShowOptions {
  /** Of the terminal. */
  readonly columns: number;
  /** Lines that it may take; undefined: as many as there are. */
  readonly rows: number | undefined;
  readonly theme: Theme;
}

const LABEL_COLUMNS = 9;
const BAR_COLUMNS = 12;
const MIN_PHASES = 3;
/** Checks, and notes, on a screen that is to hold all. */
const MAX_SHORT = 3;

export function storyLines(story: Story, { columns, rows, theme }: ShowOptions): string[] {
  const room = Math.max(columns, LABEL_COLUMNS + 20) - 1; // The last column makes some terminals wrap.
  const safe = (text: string): string => printable(text, theme.unicode);
  const head = headLine(story, columns, theme);
  const verdict = wrap(safe(story.verdict.text), room, theme.unicode);
  const facts = factLines(story, safe, rows !== undefined).flatMap(([label, text]) => {
    const [first = '', ...rest] = wrap(text, room - LABEL_COLUMNS - 1, theme.unicode);
    const second = cut(rest.join(' '), room - LABEL_COLUMNS - 1, theme.unicode);
    const more = rows === undefined || rest.length === 0 ? rest : [second];
    return [
      `${theme.paint('dim', left(label, LABEL_COLUMNS))} ${first}`,
      ...more.map((line) => `${' '.repeat(LABEL_COLUMNS)} ${line}`),
    ];
  });
  const dump = dumpLines(story).flatMap((line) =>
    wrap(line, room - 2, theme.unicode).map((part) => `  ${part}`),
  );
  const lines = [head, '', ...verdict.map((line) => theme.paint('bold', line)), ...dump, ''];
  const spare = rows === undefined ? undefined : rows - lines.length - facts.length - 1;
  const phases = phaseLines(story, room, theme, spare);
  return [...lines, ...facts, ...phases];
}

/** As `tail` shows it. */
function headLine(story: Story, columns: number, theme: Theme): string {
  const { session, process, progress, stalls, done } = story;
  const stall = stalls.find(({ ongoing }) => ongoing);
  const live: LiveSession = {
    id: session.id,
    ...(session.provider === undefined ? {} : { provider: session.provider }),
    ...(session.store === undefined ? {} : { store: session.store }),
    attach: session.attach,
    state: story.state === 'ended' ? 'ended' : stall ? 'stalled' : 'running',
    pid: process?.pid ?? 0,
    executable: process?.executable?.name ?? '',
    opened: story.opened ?? story.as_of,
    duration_us: story.duration_us,
    since_last_call_us: story.since_last_call_us,
    progress: progress ?? { index: 0, max: 0, percent: null, calls: 0 },
    errors: story.totals.errors,
    warnings: story.totals.warnings,
    ...(stall === undefined ? {} : { stall }),
    ...(done === undefined ? {} : { done }),
    ...(story.outcome === undefined ? {} : { outcome: story.outcome }),
    ...(story.outcome_reason === undefined ? {} : { outcome_reason: story.outcome_reason }),
  };
  const watched: Watched = { live, atMs: 0, errors: new Map(), otherErrors: 0 };
  const row = live.state === 'ended' ? endedRow(watched, theme) : liveRow(watched, 0, theme);
  return renderRow(row, layOut([row], columns), theme);
}

/** @param short Only the first of what there may be many of. */
function factLines(
  story: Story,
  safe: (text: string) => string,
  short: boolean,
): [string, string][] {
  const most = short ? MAX_SHORT : Number.POSITIVE_INFINITY;
  const { session, process, totals, inner, silence, slowest_phase: slow } = story;
  const lines: [string, string][] = [];
  const flags = (session.flags ?? []).join(' ');
  const asked = session.user_initiated ? ', the user asked for it' : '';
  lines.push(['Session', safe(`${session.id}, ${session.attach}${asked} ${flags}`.trimEnd())]);
  const arch = process?.arch ? ` ${process.arch}` : '';
  const shim = story.shim_version ? `, shim ${story.shim_version}` : '';
  const name = process?.executable?.name || 'process';
  const gone = exitText(story);
  lines.push(['Process', safe(`${name} ${process?.pid ?? ''}${arch}${shim}${gone}`)]);
  const usual = story.usual_us === undefined ? '' : `, usually ${durationText(story.usual_us)}`;
  const began = story.opened ? timeText(story.opened) : 'before the journal begins';
  const until = story.ended ? 'to' : 'so far, to';
  const end = timeText(story.ended ?? story.as_of).slice(11);
  const took = `${story.outcome === 'abandoned' ? 'last call after ' : ''}${durationText(story.duration_us)}`;
  lines.push(['Time', `${began} ${until} ${end}, ${took}${usual}`]);
  const lost = totals.lost > 0 ? `, ${grouped(totals.lost)} frames LOST` : '';
  const merged = totals.merged > 0 ? `, ${grouped(totals.merged)} merged` : '';
  const warnings = totals.warnings > 0 ? `, ${count(totals.warnings, 'warning')}` : '';
  const calls = `${count(totals.progress, 'call')} of Progress, ${count(totals.errors, 'error')}`;
  lines.push(['Calls', `${calls}${warnings}${merged}${lost}`]);
  if (silence) lines.push(['Silence', safe(silenceText(silence, story.ended !== undefined))]);
  const failed = inner.failed > 0 ? `, ${inner.failed} failed` : '';
  if (inner.us > 0 || inner.failed > 0) {
    const most = `longest ${durationText(inner.max_us)}`;
    const methods = Object.entries(inner.by_method);
    const [[only] = []] = methods;
    const where =
      methods.length < 2
        ? only === undefined
          ? ''
          : `, all in ${only}`
        : methods
            .map(
              ([method, { us, max_us, share }]) =>
                `; ${method} ${durationText(us)} (${percent(share)}), longest ${durationText(max_us)}`,
            )
            .join('');
    lines.push([
      'Outlook',
      `${durationText(inner.us)} in its callback (${percent(inner.share)}), ${most}${failed}${where}`,
    ]);
  }
  if (slow && story.phases.length > 1) {
    const than = slow.usual_us === undefined ? '' : `, usually ${durationText(slow.usual_us)}`;
    lines.push([
      'Slowest',
      safe(
        `${slow.text ?? 'no text'}: ${durationText(slow.duration_us)} (${percent(slow.share)})${than}`,
      ),
    ]);
  }
  const error = story.first_error;
  if (error) {
    const said = error.text ? ` "${error.text}"` : '';
    const weight =
      error.mattered === null ? 'unclear' : error.mattered ? 'it mattered' : 'not decisive';
    const at = timeText(error.time).slice(11);
    lines.push(['1st error', safe(`${at} ${errorName(error)}${said}: ${weight}, ${error.why}`)]);
  }
  if (story.errors.length > 1 || (story.errors[0]?.times ?? 0) > 1) {
    const all = story.errors.map((one) => `${one.name} x${one.times} (${one.class})`);
    lines.push(['Errors', safe(all.join(', '))]);
  }
  for (const check of story.checks.slice(0, most)) {
    lines.push(['Check', safe(`${check.severity} ${checkText(check)}`)]);
  }
  for (const { key, value } of story.notes.slice(0, most)) {
    lines.push(['Note', safe(`${key} = ${value}`)]);
  }
  const hidden = Math.max(0, story.checks.length - most) + Math.max(0, story.notes.length - most);
  if (hidden > 0) lines.push(['', `and ${hidden} more (--verbose)`]);
  return lines;
}

function exitText({ exit }: Story): string {
  if (!exit) return '';
  const code = exit.code === undefined ? '' : ` with ${exitCodeText(exit.code)}`;
  return `, ${exit.crashed ? 'crashed' : 'ended'}${code}`;
}

/** `MS001 x2 Progress or Error was called after Done: Progress 12 ms after Done` */
export function checkText({ code, times, title, detail }: StoryCheck): string {
  return `${code}${times > 1 ? ` x${times}` : ''} ${title ? `${title}: ` : ''}${detail}`;
}

function silenceText(silence: NonNullable<Story['silence']>, ended: boolean): string {
  const { for_us: forUs, since, after, by, ongoing } = silence;
  if (forUs < SURE_SILENCE_US) {
    if (ended) return `${durationText(forUs)} at most`;
    return `none of ${durationText(SURE_SILENCE_US)} or more`;
  }
  const whose = by === 'outlook' ? "inside Outlook's callback" : 'without a call';
  const where = after === undefined ? '' : `, after ${callText(after)}`;
  const now = ongoing ? ', still' : '';
  return `${durationText(forUs)} ${whose} from ${timeText(since).slice(11)} on${now}${where}`;
}

function phaseLines(
  { phases }: Story,
  room: number,
  theme: Theme,
  lines: number | undefined,
): string[] {
  if (phases.length < 2) return [];
  // The longest ones, in their order.
  const places = lines === undefined ? phases.length : Math.max(MIN_PHASES, lines - 2);
  const kept =
    phases.length <= places
      ? phases
      : phases.filter((phase) =>
          [...phases]
            .sort((a, b) => b.duration_us - a.duration_us)
            .slice(0, places - 1)
            .includes(phase),
        );
  const most = Math.max(1, ...phases.map(({ duration_us: us }) => us));
  const rows = kept.map((phase) => phaseCells(phase, theme));
  const widths = [1, 2, 3].map((at) => Math.max(...rows.map((row) => width(row[at] ?? ''))));
  const [time = 0, counts = 0, errors = 0] = widths;
  const fixed = LABEL_COLUMNS + 1 + 2 + time + 2 + BAR_COLUMNS + 2 + counts + 2 + errors;
  const withBar = room - fixed >= 8;
  const taken = withBar ? fixed : fixed - BAR_COLUMNS - 2;
  const names = Math.min(
    Math.max(8, room - taken),
    Math.max(...rows.map((row) => width(row[0] ?? ''))),
  );
  const shown = rows.map((row, at) => {
    const [filled, empty] = bar((kept[at]?.duration_us ?? 0) / most, BAR_COLUMNS, theme);
    const parts = [
      left(row[0] ?? '', names, theme.unicode),
      right(row[1] ?? '', time),
      ...(withBar ? [theme.paint('cyan', filled) + theme.paint('dim', empty)] : []),
      right(row[2] ?? '', counts),
      row[3] ?? '',
    ];
    const label = at === 0 ? theme.paint('dim', left('Phases', LABEL_COLUMNS)) : '';
    const start = at === 0 ? label : ' '.repeat(LABEL_COLUMNS);
    const text = parts.join('  ').trimEnd();
    // Only what has no colours can be cut; with a bar it fits.
    return `${start} ${withBar ? text : cut(text, room - LABEL_COLUMNS - 1, theme.unicode)}`;
  });
  const hidden = phases.length - kept.length;
  if (hidden > 0) shown.push(`${' '.repeat(LABEL_COLUMNS)} and ${hidden} shorter ones (--verbose)`);
  return shown;
}

function phaseCells(phase: StoryPhase, theme: Theme): string[] {
  const { text, duration_us: us, index, max, errors, usual_us: usual } = phase;
  const counts = max === 0 ? grouped(index) : `${grouped(index)}/${grouped(max)}`;
  const notes = [
    ...(errors > 0 ? [count(errors, 'error')] : []),
    ...(usual === undefined ? [] : [`usually ${durationText(usual)}`]),
  ];
  const name = text === undefined || text === '' ? '-' : printable(text, theme.unicode);
  return [name, durationText(us), counts, notes.join(', ')];
}

/** How to get what only the stuck process knows: where its threads are. */
export function dumpCommands(
  story: Story,
): readonly { readonly command: string; readonly needs: string }[] {
  const isBlocked = story.stalls.some(({ ongoing, kind }) => ongoing && kind === 'blocked');
  if (!isBlocked || !story.process) return [];
  const { pid } = story.process;
  if (story.platform === 'win32') {
    return [{ command: `procdump -ma ${pid}`, needs: 'ProcDump of Sysinternals, to be installed' }];
  }
  return [{ command: `gcore ${pid}`, needs: 'gdb, to be installed' }];
}

function dumpLines(story: Story): string[] {
  return dumpCommands(story).map(
    ({ command, needs }) => `See where its threads are: ${command} (needs ${needs})`,
  );
}

/** `2026-02-03 10:00:31 UTC` */
export function timeText(time: string): string {
  return `${time.slice(0, 10)} ${time.slice(11, 19)} UTC`;
}
