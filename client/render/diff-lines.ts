/** `diff`: a table of two sessions. Pure. */
import { durationText, METHOD_NAMES } from '../../protocol/session/drafts.ts';
import type { Story, StoryPhase } from '../../protocol/session/story.ts';
import type { PhasePair, StoryDiff } from '../../protocol/session/story-diff.ts';
import { grouped } from './numbers.ts';
import { timeText } from './story-lines.ts';
import { cut, left, printable, right, width, wrap } from './text.ts';
import type { Style, Theme } from './theme.ts';

const GAP = 2;
const MIN_NAME = 8;
/** Narrower than this, phases are told by their durations alone. */
const FULL_COLUMNS = 60;
/** A difference that is worth a colour. */
const MARKED_SHARE = 0.2;
const MARKED_US = 1_000_000;

interface Line {
  readonly name: string;
  /** A, B, difference. */
  readonly cells: readonly [string, string, string];
  readonly style?: Style;
}

export function diffLines({ a, b, phases }: StoryDiff, columns: number, theme: Theme): string[] {
  const room = Math.max(columns, 40) - 1; // The last column makes some terminals wrap.
  const safe = (text: string): string => printable(text, theme.unicode);
  const heads = [a, b].map((story, at) => headText(story, at === 0 ? 'A' : 'B'));
  const lines: Line[] = [
    { name: '', cells: ['A', 'B', 'B - A'] },
    timeLine('Duration', a.duration_us, b.duration_us),
    numberLine('Calls', a.totals.progress, b.totals.progress),
    numberLine('Errors', a.totals.errors, b.totals.errors),
    timeLine('In Outlook', a.inner.us, b.inner.us),
    ...METHOD_NAMES.flatMap((method) => {
      const [inA, inB] = [a, b].map(({ inner }) => inner.by_method[method]?.us ?? 0) as [
        number,
        number,
      ];
      return inA + inB === 0 ? [] : [timeLine(`  ${method}`, inA, inB)];
    }),
    ...phases.map((pair) => ({ ...phaseLine(pair, room), name: safe(`  ${pair.text || '-'}`) })),
  ];
  const widths = [0, 1, 2].map((at) => Math.max(...lines.map(({ cells }) => width(cells[at]!))));
  const fixed = widths.reduce((all, one) => all + one + GAP, 0);
  const names = Math.min(
    Math.max(MIN_NAME, room - fixed),
    Math.max(...lines.map(({ name }) => width(name))),
  );
  const table = lines.map(({ name, cells, style }) => {
    const parts = [
      left(name, names, theme.unicode),
      ...cells.map((cell, at) => right(cell, widths[at]!)),
    ];
    const line = cut(parts.join(' '.repeat(GAP)).trimEnd(), room, theme.unicode);
    return style ? theme.paint(style, line) : line;
  });
  return [...heads.flatMap((head) => wrap(safe(head), room, theme.unicode)), '', ...table];
}

function headText(story: Story, name: string): string {
  const { session, opened, as_of } = story;
  const labels = [session.provider, session.store].filter(Boolean).join(', ');
  const time = timeText(opened ?? as_of);
  return `${name}  ${session.id}  ${time}  ${labels}: ${story.outcome ?? story.state}`;
}

function timeLine(name: string, a: number, b: number): Line {
  const style = styleOf(a, b);
  const cells = [durationText(a), durationText(b), signed(b - a, durationText)] as const;
  return { name, cells, ...(style ? { style } : {}) };
}

function numberLine(name: string, a: number, b: number): Line {
  return { name, cells: [grouped(a), grouped(b), signed(b - a, grouped)] };
}

function phaseLine({ a, b }: PhasePair, room: number): Line {
  const style = a && b ? styleOf(a.duration_us, b.duration_us) : 'dim';
  const difference =
    a && b ? signed(b.duration_us - a.duration_us, durationText) : a ? 'only A' : 'only B';
  const cells = [phaseText(a, room), phaseText(b, room), difference] as const;
  return { name: '', cells, ...(style ? { style } : {}) };
}

function phaseText(phase: StoryPhase | undefined, room: number): string {
  if (!phase) return '-';
  if (room < FULL_COLUMNS) return durationText(phase.duration_us);
  const errors = phase.errors > 0 ? ` !${grouped(phase.errors)}` : '';
  return `${durationText(phase.duration_us)} ${grouped(phase.calls)}${errors}`;
}

function signed(difference: number, show: (value: number) => string): string {
  if (difference === 0) return '=';
  return `${difference > 0 ? '+' : '-'}${show(Math.abs(difference))}`;
}

function styleOf(a: number, b: number): Style | undefined {
  const difference = b - a;
  if (Math.abs(difference) < Math.max(MARKED_US, MARKED_SHARE * a)) return undefined;
  return difference > 0 ? 'red' : 'green';
}
