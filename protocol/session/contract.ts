import type { RecordDraft } from '../records/record.ts';
import type { CheckCode } from './checks.ts';
import { findCheck, firedBit, levelOfCheck } from './checks.ts';
import type { Cause } from './drafts.ts';
import { durationText, sessionDraft } from './drafts.ts';
import { isWarning } from './hresults.ts';
import { FAILED, isCancel, shown } from './outcome.ts';
import type { LastCall, SessionState } from './state.ts';
import { FLOOD_WINDOW_US, hasCalls, LAST_FIRST_INDEX } from './state.ts';
import { hex32 } from './sync-flags.ts';

/**
 * The rules of the callback's contract, as `checks.ts` lists them. Each fires once in a session, with the
 * first thing that broke it; a restart from the journal knows what has fired.
 */

type Emit = (draft: RecordDraft) => void;

/** MS023: more calls a second than this, for so long. */
const FLOOD_PER_SECOND = 10_000;
const FLOOD_FOR_US = 5_000_000;
const HANDLE_DIFFERS = 3;
/** Keys under which the shim notes what it sees itself: PROTOCOL.md, Notes of the shim. */
const UNKNOWN_IID = 'unknown_iid';
const USED_AFTER_RELEASE = 'used_after_release';

/** Fires a check, unless it has fired in this session. */
export function fire(
  state: SessionState,
  code: CheckCode,
  cause: Cause,
  detail: string,
  emit: Emit,
): void {
  const bit = firedBit(code);
  if ((state.fired & bit) !== 0) return;
  state.fired |= bit;
  emit(checkDraft(state, code, cause, detail));
}

/** The record of a check, whether or not it fired before. */
export function checkDraft(
  state: SessionState,
  code: CheckCode,
  cause: Cause,
  detail: string,
): ReturnType<typeof sessionDraft> {
  const { severity = 'info', title = '' } = findCheck(code) ?? {};
  const msg = `${code} ${title}: ${detail}`;
  const draft = sessionDraft(state, 'session.check', levelOfCheck(severity), cause, msg);
  draft.check = { code, severity, detail };
  return draft;
}

/**
 * A call that changed more than the index forwards.
 *
 * @param before The call before it; judged only if that is the one right before, since of merged calls
 * and of calls that overtook each other nobody knows what stood between.
 * @param sameText The text stayed.
 */
export function judgeBar(
  state: SessionState,
  cause: Cause,
  now: Pick<LastCall, 'call' | 'index' | 'max'>,
  before: Readonly<Omit<LastCall, 'timeUs'>>,
  sameText: boolean,
  emit: Emit,
): void {
  const { call, index, max } = now;
  if (index > max && max !== 0) {
    fire(state, 'MS004', cause, `index ${index}, maximum ${max}`, emit);
  }
  if (!sameText || before.call === 0 || call !== before.call + 1 || index <= LAST_FIRST_INDEX)
    return;
  const change = `from ${before.index}/${before.max} to ${index}/${max}`;
  if (index < before.index) fire(state, 'MS005', cause, change, emit);
  if (max !== before.max && max !== 0 && before.max !== 0) {
    fire(state, 'MS006', cause, change, emit);
  }
}

/** Called once `FLOOD_WINDOW_US` have passed since the window began. */
export function judgeFlood(state: SessionState, cause: Cause, call: number, emit: Emit): void {
  const elapsedUs = cause.timeUs - state.floodUs;
  const calls = call - state.floodCall;
  const isFlood = state.floodCall > 0 && calls * 1_000_000 > FLOOD_PER_SECOND * elapsedUs;
  state.floodForUs = isFlood ? state.floodForUs + elapsedUs : 0;
  if (state.floodForUs >= FLOOD_FOR_US) {
    const rate = Math.round((calls * 1_000_000) / elapsedUs);
    const detail = `${rate} calls a second in the last ${durationText(elapsedUs)}`;
    fire(state, 'MS023', cause, detail, emit);
  }
  state.floodUs = cause.timeUs;
  state.floodCall = call;
}

/** Whether a call at this time ends a window of `judgeFlood()`. */
export function isFloodWindowOver(state: SessionState, timeUs: number): boolean {
  return timeUs - state.floodUs >= FLOOD_WINDOW_US;
}

/** Progress or Error while `Done` was there already. */
export function judgeAfterDone(
  state: SessionState,
  cause: Cause,
  method: string,
  emit: Emit,
): void {
  if (state.done !== null) fire(state, 'MS001', cause, afterDone(state, cause, method), emit);
}

/** `Error 12 ms after Done` */
export function afterDone(state: SessionState, cause: Cause, method: string): string {
  const doneUs = state.done?.timeUs ?? cause.timeUs;
  return `${method} ${durationText(Math.max(0, cause.timeUs - doneUs))} after Done`;
}

export function judgeError(
  state: SessionState,
  cause: Cause,
  hresult: number,
  text: string | null,
  emit: Emit,
): void {
  if (hresult < FAILED && !isWarning(hresult)) {
    fire(state, 'MS021', cause, `Error with ${shown(hresult)}`, emit);
  }
  if (text === null) fire(state, 'MS022', cause, `Error with ${shown(hresult)} and no text`, emit);
}

/** @param isFirst Of the session. */
export function judgeDone(
  state: SessionState,
  cause: Cause,
  done: { readonly call: number; readonly hresult: number; readonly handle: number },
  isFirst: boolean,
  emit: Emit,
): void {
  if (done.call > 1 || !isFirst) {
    fire(state, 'MS002', cause, afterDone(state, cause, `Done with ${hex32(done.hresult)}`), emit);
  }
  if (isFirst && done.hresult === 0 && state.failures > 0) {
    const times = `${state.failures} error${state.failures === 1 ? '' : 's'}`;
    fire(state, 'MS020', cause, `after ${times}`, emit);
  }
  if (done.handle === HANDLE_DIFFERS) {
    fire(state, 'MS030', cause, 'neither NULL nor the same handle', emit);
  }
  judgeReturned(state, cause, emit);
}

/** `SynchronizeInBackground` came back, or `Done` came. */
export function judgeReturned(state: SessionState, cause: Cause, emit: Emit): void {
  if (state.returned === null || state.returned.hresult < FAILED || state.dones === 0) return;
  const detail = `SynchronizeInBackground returned ${shown(state.returned.hresult)}`;
  fire(state, 'MS008', cause, detail, emit);
}

export function judgeNote(
  state: SessionState,
  cause: Cause,
  note: { key: string; value: string },
  emit: Emit,
): void {
  if (note.key === UNKNOWN_IID) fire(state, 'MS031', cause, note.value, emit);
  if (note.key === USED_AFTER_RELEASE) fire(state, 'MS010', cause, note.value, emit);
}

/** A session of the same store began while the other ran. */
export function judgeOverlap(
  state: SessionState,
  other: SessionState,
  cause: Cause,
  emit: Emit,
): void {
  const forUs = Math.max(0, cause.timeUs - other.openTimeUs);
  fire(state, 'MS009', cause, `session ${other.id} has run for ${durationText(forUs)}`, emit);
}

/** The session ends. @param released By the last Release, or after `Done`; not with its process. */
export function judgeEnd(state: SessionState, cause: Cause, released: boolean, emit: Emit): void {
  const { done, dones, returned } = state;
  if (done === null) {
    // A sync that could not begin has no Done, and a Done whose frame was lost was there.
    const began = returned === null || returned.hresult < FAILED;
    if (released && began && dones === 0 && hasCalls(state)) {
      const calls = state.progress + state.errors;
      fire(state, 'MS003', cause, `after ${calls} call${calls === 1 ? '' : 's'}`, emit);
    }
    return;
  }
  if (done.hresult >= FAILED && !isCancel(done.hresult) && state.errors === 0) {
    fire(state, 'MS007', cause, `Done with ${shown(done.hresult)}`, emit);
  }
}
