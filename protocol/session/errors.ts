import { cutText } from '../records/text.ts';
import type { ErrorCall } from '../wire/frames.ts';
import { judgeAfterDone, judgeError } from './contract.ts';
import { errorFields, sessionDraft } from './drafts.ts';
import { FAILED, named } from './outcome.ts';
import type { Emit } from './session.ts';
import type { SessionState } from './state.ts';
import { MAX_ERROR_TEXT_BYTES, MAX_REPEATS } from './state.ts';

/** Calls of `Error`: what they count, and which of them came before. */

export function takeError(state: SessionState, frame: ErrorCall, emit: Emit): void {
  const { call, hresult, text } = frame;
  const error = errorFields(hresult);
  countError(state, hresult, call);
  const repeat = countRepeat(state, hresult, text);
  if (text !== null) error.text = text;
  if (repeat !== undefined) error.repeat = repeat;
  const kept = text === null ? null : cutText(text, MAX_ERROR_TEXT_BYTES);
  state.lastError = kept === text || kept === null ? error : { ...error, text: kept };
  const isMild = error.severity === 'success' || error.class === 'transient';
  const msg = `${named(error)}${text === null || text === '' ? '' : `: ${text}`}`;
  const draft = sessionDraft(state, 'session.error', isMild ? 'warn' : 'error', frame, msg);
  draft.call = call;
  draft.error = error;
  emit(draft);
  judgeError(state, frame, hresult, text, emit);
  judgeAfterDone(state, frame, 'Error', emit);
}

/** Counts an `Error` by its code. */
export function countError(state: SessionState, hresult: number, call: number): void {
  state.errors = Math.max(state.errors, call);
  if (hresult >= FAILED) state.failures += 1;
  else {
    state.warnings += 1;
    if (hresult !== 0) state.oddities += 1;
  }
}

/** @returns `undefined` for what is new after `MAX_REPEATS` different ones. */
function countRepeat(
  state: SessionState,
  hresult: number,
  text: string | null,
): number | undefined {
  const key = repeatKey(hresult, text);
  const repeat = (state.repeats.get(key) ?? 0) + 1;
  if (repeat === 1 && state.repeats.size >= MAX_REPEATS) return undefined;
  state.repeats.set(key, repeat);
  return repeat;
}

/** FNV-1a of code and text, and the same for what the journal keeps of the text. */
export function repeatKey(hresult: number, text: string | null): number {
  const kept = text === null ? '' : cutText(text, MAX_ERROR_TEXT_BYTES);
  let hash = Math.imul(0x811c9dc5 ^ hresult, 0x01000193);
  if (text !== null) hash = Math.imul(hash ^ 0x3a, 0x01000193);
  for (let at = 0; at < kept.length; at += 1) {
    hash = Math.imul(hash ^ kept.charCodeAt(at), 0x01000193);
  }
  return hash >>> 0;
}
