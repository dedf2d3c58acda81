/**
 * A session's changes as lines that do not move: for pipes, files and people with screen readers.
 * `TIME SESSION PROVIDER STORE WHAT ...`; text of the host stands in quotes.
 */
import type { LiveSession, ProgressFields } from '../../protocol/records/record.ts';
import type { FeedRecord } from '../view.ts';
import { clock } from './numbers.ts';
import { errorName, stallText } from './session-row.ts';
import { printable, quoted } from './text.ts';

/** A line for each so many percent, or so much time, or a new text. */
const STEP_PERCENT = 5;
const STEP_MS = 5000;
/** Sessions whose last line is remembered; the oldest is forgotten first. */
const MAX_REMEMBERED = 4096;

export interface PlainOptions {
  readonly unicode: boolean;
  /** -1 errors and ends only, 0, 1 everything. */
  readonly verbosity: number;
}

interface Shown {
  readonly text: string | undefined;
  readonly step: number | undefined;
  readonly atMs: number;
}

export class PlainLines {
  readonly #options: PlainOptions;
  readonly #shown = new Map<string, Shown>();

  constructor(options: PlainOptions) {
    this.#options = options;
  }

  /** The line of a session that was there before. */
  running(live: LiveSession): string {
    this.#keep(live.id, live.progress, Date.parse(live.opened) + live.duration_us / 1000);
    const state =
      live.state === 'stalled' ? stallText(live, 0) : `running ${this.#progress(live.progress)}`;
    return this.#line(live.opened, live, state.trimEnd());
  }

  /** The line of a session that nobody saw end. */
  unknown(live: LiveSession): string {
    return this.#line(live.opened, live, `no end, last ${this.#progress(live.progress)}`);
  }

  /** The line of a record; undefined if it says nothing new. */
  record(record: FeedRecord): string | undefined {
    const what = this.#what(record);
    return what === undefined ? undefined : this.#line(record.time, record.session, what);
  }

  #what(record: FeedRecord): string | undefined {
    const { verbosity, unicode } = this.#options;
    const important = record.level === 'warn' || record.level === 'error';
    if (verbosity < 0 && !important && record.event_name !== 'session.ended') return undefined;
    switch (record.event_name) {
      case 'session.opened': {
        const { process, session } = record;
        const where = process?.executable?.name ?? 'process';
        const flags = session?.flags?.length ? ` ${session.flags.join('|')}` : '';
        return `opened by ${printable(where, unicode)} ${process?.pid ?? ''}${flags}`;
      }
      case 'session.progress':
        return record.progress && this.#isNews(record, record.progress)
          ? this.#progress(record.progress)
          : undefined;
      case 'session.error': {
        if (!record.error) return undefined;
        const { error } = record;
        const kind = error.severity === 'success' ? 'warning' : 'error';
        const times = (error.repeat ?? 1) > 1 ? ` x${error.repeat}` : '';
        const text = error.text === undefined ? '' : ` ${quoted(error.text, unicode)}`;
        return `${kind} ${printable(errorName(error), unicode)} (${error.class})${times}${text}`;
      }
      case 'session.stalled': {
        const { stall } = record;
        if (!stall) return 'stalled';
        const where = stall.kind === 'blocked' ? "inside Outlook's callback" : 'no call';
        const thread = stall.thread === undefined ? '' : `, thread ${stall.thread}`;
        return `stalled ${clock(stall.for_us)}: ${where}${thread}`;
      }
      case 'session.resumed':
        return `resumed${record.stall ? ` after ${clock(record.stall.for_us)}` : ''}`;
      case 'session.ended': {
        this.#shown.delete(record.session?.id ?? '');
        const { totals } = record;
        const calls = totals
          ? `, calls ${totals.progress}, errors ${totals.errors}, warnings ${totals.warnings}`
          : '';
        const merged = totals?.merged ? `, merged ${totals.merged}` : '';
        const lost = totals?.lost ? `, lost ${totals.lost}` : '';
        const reason = record.outcome_reason
          ? ` (${printable(record.outcome_reason, unicode)})`
          : '';
        return `ended ${record.outcome} in ${clock(record.duration_us ?? 0)}${calls}${merged}${lost}${reason}`;
      }
      default:
        // Whatever else there is speaks for itself.
        return important || verbosity > 0
          ? `${record.event_name} ${printable(record.msg ?? '', unicode)}`
          : undefined;
    }
  }

  #isNews(record: FeedRecord, progress: ProgressFields): boolean {
    const id = record.session?.id ?? '';
    const atMs = Date.parse(record.time);
    const before = this.#shown.get(id);
    const step = stepOf(progress);
    if (
      before &&
      before.text === progress.text &&
      before.step === step &&
      atMs - before.atMs < STEP_MS
    ) {
      return false;
    }
    this.#keep(id, progress, atMs);
    return true;
  }

  #keep(id: string, progress: ProgressFields, atMs: number): void {
    this.#shown.delete(id);
    if (this.#shown.size >= MAX_REMEMBERED) {
      for (const oldest of this.#shown.keys()) {
        this.#shown.delete(oldest);
        break;
      }
    }
    this.#shown.set(id, { text: progress.text, step: stepOf(progress), atMs });
  }

  #progress(progress: ProgressFields): string {
    const { percent, index, max, rate_per_s, eta_s, text } = progress;
    const parts = [
      percent === null ? `${index} (no total)` : `${Math.floor(percent)}% ${index}/${max}`,
    ];
    if (rate_per_s !== undefined) parts.push(`${rate_per_s.toFixed(1)}/s`);
    if (eta_s !== undefined) parts.push(`eta ${clock(eta_s * 1_000_000)}`);
    if (text !== undefined) parts.push(quoted(text, this.#options.unicode));
    return parts.join(' ');
  }

  #line(
    time: string,
    session:
      | { readonly id: string; readonly provider?: string; readonly store?: string }
      | undefined,
    what: string,
  ): string {
    const seconds = `${time.slice(0, 19)}Z`;
    if (!session) return `${seconds} - ${what}`;
    const { unicode } = this.#options;
    const name = (text: string | undefined): string =>
      text === undefined ? '-' : quoted(text, unicode);
    return `${seconds} ${session.id} ${name(session.provider)} ${name(session.store)} ${what}`;
  }
}

const stepOf = ({ percent }: ProgressFields): number | undefined =>
  percent === null ? undefined : Math.floor(percent / STEP_PERCENT);
