import type { ProgressFields } from '../records/record.ts';
import { cutText } from '../records/text.ts';
import { secondsLeft } from './eta.ts';
import { beginPhase } from './phases.ts';
import { perSecond, restartRate, sampleRate } from './rate.ts';
import type { LastCall, SessionState } from './state.ts';
import { errorCount, LAST_FIRST_INDEX, MAX_STATE_TEXT_BYTES } from './state.ts';

/** The bar: what a `Progress` call changes, and when that is worth a record. */

export const MIN_BETWEEN_RECORDS_US = 100_000;
export const MAX_BETWEEN_RECORDS_US = 5_000_000;

/**
 * Takes one call. Threads overtake each other between counting a call and recording it, so an older call
 * may come later: it never moves the bar back.
 *
 * @param text null: the text stays.
 */
export function takeCall(
  state: SessionState,
  call: number,
  timeUs: number,
  index: number,
  max: number,
  text: string | null,
): void {
  let hasTurned = false;
  if (text !== null && call > state.textCall) {
    state.textCall = call;
    const cut = cutText(text, MAX_STATE_TEXT_BYTES);
    if (cut !== state.text) {
      hasTurned = true;
      turnPhase(state, cut, call, timeUs);
      state.text = cut;
      state.textUntold = true;
    }
  }
  const last = state.last;
  if (call <= last.call) return;
  const isRestart = index < last.index && index <= LAST_FIRST_INDEX;
  if (state.phases.current === null || (isRestart && !hasTurned)) {
    turnPhase(state, state.text, call, timeUs);
  }
  if (state.rate.runUs < 0 || index < last.index || max !== last.max) {
    restartRate(state.rate, timeUs, index);
  } else {
    sampleRate(state.rate, timeUs, index);
  }
  last.call = call;
  last.timeUs = timeUs;
  last.index = index;
  last.max = max;
  if (call > state.progress) state.progress = call;
  if (state.ahead !== null && state.ahead.call <= call) state.ahead = null;
}

function turnPhase(state: SessionState, text: string | null, call: number, timeUs: number): void {
  // The call that brings a text is the first of its phase.
  const mark = { timeUs, calls: Math.max(0, call - 1), errors: errorCount(state) };
  beginPhase(state.phases, text, mark, state.last);
}

/** Whether the bar is due for a record: first, new text, every percent or 5 s, at most 10 a second. */
export function isProgressDue(state: SessionState, nowUs: number): boolean {
  const { told, last } = state;
  if (last.call === 0) return false;
  if (told.timeUs >= 0 && last.call === told.call && !state.textUntold) return false;
  return isBarDue(state, last.index, last.max, nowUs);
}

/** The same for a bar that no record shows yet. */
export function isBarDue(state: SessionState, index: number, max: number, nowUs: number): boolean {
  const { told } = state;
  if (told.timeUs < 0) return true;
  const sinceUs = nowUs - told.timeUs;
  if (sinceUs < MIN_BETWEEN_RECORDS_US) return false;
  if (state.textUntold || sinceUs >= MAX_BETWEEN_RECORDS_US) return true;
  // Compared as whole percents without a division: this runs for every call.
  if (max !== told.max) return max !== 0;
  return max !== 0 && Math.abs(index - told.index) * 100 >= max;
}

/** Whether a call has come that no record shows: the last one before an end is always shown. */
export function isProgressUntold(state: SessionState): boolean {
  return state.last.call > state.told.call || state.textUntold;
}

/** Notes that a record shows the bar as it is now. */
export function tellProgress(state: SessionState, nowUs: number): void {
  const { told, last } = state;
  told.timeUs = nowUs;
  told.call = last.call;
  told.index = last.index;
  told.max = last.max;
  state.textUntold = false;
}

/** 0 to 100 with one decimal, rounded down so that only the end says 100; null without a maximum. */
export function percentOf(index: number, max: number): number | null {
  return max === 0 ? null : Math.min(100, Math.floor((index * 1000) / max) / 10);
}

/** The bar as records and clients show it. */
export function progressFields(
  state: SessionState,
  at: LastCall = state.last,
  text: string | null = state.text,
): ProgressFields {
  const { index, max } = at;
  const rate = perSecond(state.rate);
  const left = secondsLeft(state, at);
  // Spreads that may add something take many times as long.
  const fields: { -readonly [Key in keyof ProgressFields]: ProgressFields[Key] } =
    text === null
      ? { index, max, percent: percentOf(index, max), calls: 0 }
      : { text, index, max, percent: percentOf(index, max), calls: 0 };
  if (rate !== undefined && state.done === null) fields.rate_per_s = Math.round(rate * 10) / 10;
  if (left !== undefined) fields.eta_s = Math.round(left * 10) / 10;
  fields.calls = Math.max(state.progress, at.call);
  if (state.merged > 0) fields.merged = state.merged;
  return fields;
}
