import type { Blocked, Inner, Unblocked } from '../wire/frames.ts';
import { durationText, METHOD_NAMES, methodName, sessionDraft } from './drafts.ts';
import { shown } from './outcome.ts';
import { progressFields } from './progress.ts';
import type { Emit } from './session.ts';
import type { SessionState } from './state.ts';
import { MAX_BLOCKED } from './state.ts';
import { hex32 } from './sync-flags.ts';

/** Time in Outlook's callback: calls that were slow or failed, and threads that are inside for long. */

export function takeInner(state: SessionState, frame: Inner, emit: Emit): void {
  countInner(state, frame.method, frame.durationUs);
  const method = methodName(frame.method);
  const took = `took ${durationText(frame.durationUs)}`;
  const failed = frame.hresult === 0 ? '' : ` and returned ${shown(frame.hresult)}`;
  emit(
    Object.assign(
      sessionDraft(
        state,
        'session.inner_slow',
        'warn',
        frame,
        `Outlook's ${method} ${took}${failed}`,
      ),
      {
        call: frame.call,
        inner: { method, hresult: hex32(frame.hresult), duration_us: frame.durationUs },
      },
    ),
  );
}

/** Counts a call of Outlook's callback that failed or was slow. */
export function countInner(state: SessionState, method: number, durationUs: number): void {
  const at = METHOD_NAMES.indexOf(methodName(method));
  const totals = state.innerSlow[at]!;
  totals.calls += 1;
  totals.us += durationUs;
  totals.maxUs = Math.max(totals.maxUs, durationUs);
  takeInnerTime(state, at, totals.us, totals.maxUs);
}

/** Time in a method of Outlook's callback, at least; exact where a counter says it. */
export function takeInnerTime(state: SessionState, at: number, us: number, maxUs: number): void {
  const time = state.innerTimes[at]!;
  time.us = Math.max(time.us, us);
  time.maxUs = Math.max(time.maxUs, maxUs);
  const sum = state.innerTimes.reduce((all, one) => all + one.us, 0);
  state.innerUs = Math.max(state.innerUs, sum);
  state.innerMaxUs = Math.max(state.innerMaxUs, maxUs);
}

export function takeBlocked(state: SessionState, frame: Blocked, emit: Emit): void {
  const { thread, method, sinceUs } = frame;
  state.blocked = state.blocked.filter((call) => call.thread !== thread).slice(1 - MAX_BLOCKED);
  state.blocked.push({ thread, method, sinceUs });
  const forUs = Math.max(0, frame.timeUs - sinceUs);
  const name = methodName(method);
  const msg = `thread ${thread} is inside Outlook's ${name} for ${durationText(forUs)}`;
  emit(
    Object.assign(sessionDraft(state, 'session.stalled', 'warn', frame, msg), {
      call: frame.call,
      stall: { kind: 'blocked', method: name, thread, for_us: forUs },
      progress: progressFields(state),
    }),
  );
}

export function takeUnblocked(state: SessionState, frame: Unblocked, emit: Emit): void {
  const { thread, method, durationUs } = frame;
  state.blocked = state.blocked.filter((call) => call.thread !== thread);
  cameOut(state, frame.timeUs);
  const name = methodName(method);
  const msg = `thread ${thread} came out of Outlook's ${name} after ${durationText(durationUs)}`;
  emit(
    Object.assign(sessionDraft(state, 'session.resumed', 'info', frame, msg), {
      call: frame.call,
      stall: { kind: 'blocked', method: name, thread, for_us: durationUs },
    }),
  );
}

/** The provider was not silent while it was held up: quiet begins to count anew. */
export function cameOut(state: SessionState, timeUs: number): void {
  state.lastCallUs = Math.max(state.lastCallUs, timeUs);
  state.excusedUs = 0;
}
