import type { PhaseFields } from '../records/record.ts';
import { cutText } from '../records/text.ts';
import { MAX_PHASE_TEXT_BYTES } from './state.ts';

/** A stretch of a session in which the bar had one text and, of counts that begin again, one count. */
export interface Phase {
  readonly text: string | null;
  readonly durationUs: number;
  readonly calls: number;
  readonly errors: number;
  /** As they were at its end. */
  readonly index: number;
  readonly max: number;
}

/** Where counters stood when something began or ended. */
export interface PhaseMark {
  readonly timeUs: number;
  readonly calls: number;
  readonly errors: number;
}

/** The phases of one session, at most `MAX_PHASES` of them. */
export interface PhaseBook {
  /** Finished ones, in order; all but one of the most that are kept. */
  closed: Phase[];
  /** Finished ones beyond that, summed. */
  rest: Phase | null;
  current: { readonly text: string | null; readonly begin: PhaseMark } | null;
}

export const MAX_PHASES = 32;

export function newPhaseBook(): PhaseBook {
  return { closed: [], rest: null, current: null };
}

/** Ends the current phase, which showed `index` of `max` at last, and begins one. */
export function beginPhase(
  book: PhaseBook,
  text: string | null,
  mark: PhaseMark,
  at: { readonly index: number; readonly max: number },
): void {
  const finished = finish(book, mark, at);
  if (finished !== null) {
    if (book.closed.length < MAX_PHASES - 1) book.closed.push(finished);
    else book.rest = add(book.rest, finished);
  }
  const shown = text === null ? null : cutText(text, MAX_PHASE_TEXT_BYTES);
  book.current = { text: shown, begin: mark };
}

/** All phases, the current one as if it ended now. */
export function listPhases(
  book: PhaseBook,
  mark: PhaseMark,
  at: { readonly index: number; readonly max: number },
): PhaseFields[] {
  const current = finish(book, mark, at);
  const tail = current === null ? book.rest : add(book.rest, current);
  return [...book.closed, ...(tail === null ? [] : [tail])].map(toFields);
}

function finish(
  book: PhaseBook,
  mark: PhaseMark,
  at: { readonly index: number; readonly max: number },
): Phase | null {
  if (book.current === null) return null;
  const { text, begin } = book.current;
  return {
    text,
    durationUs: Math.max(0, mark.timeUs - begin.timeUs),
    calls: Math.max(0, mark.calls - begin.calls),
    errors: Math.max(0, mark.errors - begin.errors),
    index: at.index,
    max: at.max,
  };
}

/** A sum has no text of its own. */
function add(sum: Phase | null, phase: Phase): Phase {
  if (sum === null) return phase;
  return {
    text: null,
    durationUs: sum.durationUs + phase.durationUs,
    calls: sum.calls + phase.calls,
    errors: sum.errors + phase.errors,
    index: phase.index,
    max: phase.max,
  };
}

function toFields(phase: Phase): PhaseFields {
  return {
    ...(phase.text === null ? {} : { text: phase.text }),
    duration_us: phase.durationUs,
    calls: phase.calls,
    errors: phase.errors,
    index: phase.index,
    max: phase.max,
  };
}
