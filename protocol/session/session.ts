import type { RecordDraft } from '../records/record.ts';
import { rfc3339 } from '../records/time.ts';
import type {
  Blocked,
  Close,
  Done,
  ErrorCall,
  Inner,
  Merged,
  NewestCall,
  Note,
  Open,
  Progress,
  Returned,
  Slot,
  Unblocked,
} from '../wire/frames.ts';
import type { CheckCode } from './checks.ts';
import { firedBit, firedCount } from './checks.ts';
import {
  afterDone,
  checkDraft,
  fire,
  isFloodWindowOver,
  judgeAfterDone,
  judgeBar,
  judgeDone,
  judgeEnd,
  judgeFlood,
  judgeNote,
  judgeReturned,
} from './contract.ts';
import type { Cause } from './drafts.ts';
import {
  durationText,
  errorFields,
  fullSessionFields,
  METHOD_NAMES,
  methodName,
  sessionDraft,
} from './drafts.ts';
import { countError, takeError } from './errors.ts';
import { MIN_QUIET_US } from './history.ts';
import { describeHresult } from './hresults.ts';
import { takeBlocked, takeInner, takeInnerTime, takeUnblocked } from './inner.ts';
import type { EndCause } from './outcome.ts';
import { count, judge, levelOf, shown } from './outcome.ts';
import { listPhases } from './phases.ts';
import {
  isProgressDue,
  isProgressUntold,
  progressFields,
  takeCall,
  tellProgress,
} from './progress.ts';
import type { Origin, SessionState } from './state.ts';
import { endSession, errorCount, newSession } from './state.ts';
import { hex32 } from './sync-flags.ts';

/**
 * One sync session as a reducer: frames and ticks go in, records come out. Deterministic: time comes with
 * the frame or the tick. No function here throws, whatever the frames say, and none touches anything but
 * the state it is given, which it changes in place.
 */

export type { Origin, SessionState } from './state.ts';

/** Takes a record. May not call back into the reducer. */
export type Emit = (draft: RecordDraft) => void;

/** Frames that belong to a session, after its `open`. A `ProgressView` passes as `progress`. */
export type SessionFrame =
  | Readonly<Pick<Progress, keyof Progress>>
  | ErrorCall
  | Done
  | Inner
  | Blocked
  | Unblocked
  | Returned
  | Note
  | Close
  | Merged;

export interface SessionOptions {
  /** No call for this long makes a session stalled. Left out: what is usual for its store. */
  readonly quietUs?: number | undefined;
  /** Monotonic; frames up to then have all been taken. The time of the tick, if left out. */
  readonly heardUs?: number;
}

/**
 * A session ends this long after `Done`, even if its callback is not released. By the clock of its frames:
 * what a ring kept while no daemon ran ends as it would have ended then.
 */
export const END_AFTER_DONE_US = 5_000_000;

/** What is known of the end of a process. */
export interface GoneFacts {
  /** When that was noticed. */
  readonly wallUs: number;
  /** The same on the monotonic clock, if the machine was not started anew since. */
  readonly timeUs?: number;
  readonly exitCode?: number;
  readonly crashed?: boolean;
  /** Calls of this session that were inside Outlook's callback, from the in-call slots. */
  readonly inCallback?: readonly { readonly method: number; readonly thread: number }[];
}

/** Begins a session with its `open`. */
export function openSession(open: Open, origin: Origin, emit: Emit): SessionState {
  const state = newSession(open, origin);
  emit(
    Object.assign(sessionDraft(state, 'session.opened', 'info', open, 'sync began'), {
      shim_version: origin.shimVersion,
      session: fullSessionFields(state),
      ...(open.callback === 0 ? { detail: { callback: false } } : {}),
    }),
  );
  return state;
}

/** Applies the next frame of the session, in the order of its ring. */
export function applyFrame(state: SessionState, frame: SessionFrame, emit: Emit): void {
  if (state.ended === null) endAfterDone(state, frame, frame.timeUs, emit);
  if (state.ended !== null) {
    applyLate(state, frame, emit);
    return;
  }
  switch (frame.kind) {
    case 'progress':
      heard(state, frame, emit);
      takeProgress(state, frame, frame, emit);
      // The time of Progress is coarse, and threads overtake each other; one thread does not.
      if (state.done?.thread === frame.thread || isAfterDone(state, frame.timeUs)) {
        judgeAfterDone(state, frame, 'Progress', emit);
      }
      if (isProgressDue(state, frame.timeUs)) emitProgress(state, frame, emit);
      break;
    case 'error':
      heard(state, frame, emit);
      takeError(state, frame, emit);
      break;
    case 'done':
      heard(state, frame, emit);
      takeDone(state, frame, emit);
      break;
    case 'merged':
      takeMerged(state, frame, emit);
      break;
    case 'close':
      takeCounters(state, frame);
      end(state, frame, { by: 'released' }, frame.timeUs, true, emit);
      break;
    default:
      applyAside(state, frame, emit);
  }
}

/** What is no call of the provider's; it is taken alike before and after the end. */
function applyAside(
  state: SessionState,
  frame: Inner | Blocked | Unblocked | Returned | Note,
  emit: Emit,
): void {
  switch (frame.kind) {
    case 'inner':
      takeInner(state, frame, emit);
      break;
    case 'blocked':
      takeBlocked(state, frame, emit);
      break;
    case 'unblocked':
      takeUnblocked(state, frame, emit);
      break;
    case 'returned':
      takeReturned(state, frame, emit);
      break;
    case 'note':
      takeNote(state, frame, emit);
      break;
  }
}

/**
 * A frame after the end was told: 5 s after `Done`, or after the last Release. Calls only fire checks;
 * what else the frames say is recorded as ever. A call of `Error` or `Done` has a record each time, since
 * it stands nowhere else.
 */
function applyLate(state: SessionState, frame: SessionFrame, emit: Emit): void {
  switch (frame.kind) {
    case 'progress':
      state.progress = Math.max(state.progress, frame.call);
      if (state.released) fire(state, 'MS010', frame, 'Progress', emit);
      else judgeAfterDone(state, frame, 'Progress', emit);
      break;
    case 'error':
    case 'done':
      takeLateCall(state, frame, emit);
      break;
    case 'merged':
      takeCounters(state, frame);
      tellMerged(state, frame, emit);
      break;
    case 'close':
      takeCounters(state, frame);
      if (!state.released) release(state, frame, emit);
      break;
    default:
      applyAside(state, frame, emit);
  }
}

function takeLateCall(state: SessionState, frame: ErrorCall | Done, emit: Emit): void {
  const isError = frame.kind === 'error';
  if (isError) countError(state, frame.hresult, frame.call);
  else state.dones = Math.max(state.dones, frame.call);
  const code: CheckCode = state.released ? 'MS010' : isError ? 'MS001' : 'MS002';
  const method = `${isError ? 'Error' : 'Done'} with ${shown(frame.hresult)}`;
  const detail = state.released ? method : afterDone(state, frame, method);
  state.fired |= firedBit(code);
  const error = errorFields(frame.hresult);
  if (isError && frame.text !== null) error.text = frame.text;
  emit(Object.assign(checkDraft(state, code, frame, detail), { call: frame.call, error }));
}

function release(state: SessionState, frame: Close, emit: Emit): void {
  state.released = true;
  const afterUs = Math.max(0, frame.timeUs - (state.done?.timeUs ?? frame.timeUs));
  const msg = `the callback was released ${durationText(afterUs)} after Done`;
  emit(
    Object.assign(sessionDraft(state, 'session.released', 'debug', frame, msg), {
      duration_us: Math.max(0, frame.timeUs - state.openTimeUs),
      totals: totalsOf(state),
    }),
  );
}

/**
 * Takes what a session slot says: counters, and the newest call, which may be ahead of the frames that
 * still come. Causes no record by itself.
 */
export function applySlot(state: SessionState, slot: Slot): void {
  if (state.ended !== null) return;
  takeCounters(state, slot);
  takeAhead(state, slot.newest);
}

/** Lets time pass: stalls, a bar that was held back, the end after `Done`. At least once a second. */
export function tick(
  state: SessionState,
  nowUs: number,
  emit: Emit,
  options: SessionOptions = {},
): void {
  if (state.ended !== null) return;
  const cause: Cause = { timeUs: nowUs, seq: 0, thread: 0 };
  if (state.done !== null) {
    endAfterDone(state, cause, options.heardUs ?? nowUs, emit);
    return;
  }
  if (isProgressDue(state, nowUs)) emitProgress(state, cause, emit);
  // What was not heard yet may bring a call.
  const heardUs = Math.min(nowUs, options.heardUs ?? nowUs);
  const forUs = heardUs - state.lastCallUs - state.excusedUs;
  const quietUs = options.quietUs ?? state.usual?.quietUs ?? MIN_QUIET_US;
  if (state.quietSinceUs !== null) {
    // A slot told of a call that no frame has brought yet.
    if (state.lastCallUs > state.quietSinceUs) resume(state, cause, state.lastCallUs, emit);
  } else if (forUs >= quietUs && state.blocked.length === 0) {
    state.quietSinceUs = state.lastCallUs;
    emit(
      Object.assign(
        sessionDraft(state, 'session.stalled', 'warn', cause, `no call for ${durationText(forUs)}`),
        {
          stall: { kind: 'quiet', for_us: forUs, threshold_us: quietUs },
          progress: progressFields(state),
        },
      ),
    );
  }
}

/** The machine slept, or the daemon was held up: this time counts for no stall. */
export function excuse(state: SessionState, us: number): void {
  if (us > 0) state.excusedUs += us;
}

/** The process of the session has ended; no frame comes any more. */
export function processGone(state: SessionState, facts: GoneFacts, emit: Emit): void {
  if (state.ended !== null) return;
  const timeUs = facts.timeUs ?? state.lastCallUs;
  const cause: Cause = { timeUs, seq: 0, thread: 0 };
  const inside = facts.inCallback ?? [];
  const code = facts.exitCode === undefined ? '' : ` with exit code ${facts.exitCode}`;
  const where = inside
    .map(({ method, thread }) => `, thread ${thread} inside Outlook's ${methodName(method)}`)
    .join('');
  const how = `The process ${facts.crashed === true ? 'crashed' : 'ended'}${code}${where}`;
  const exit: NonNullable<RecordDraft['exit']> = {
    ...(facts.exitCode === undefined ? {} : { code: facts.exitCode }),
    ...(facts.crashed === undefined ? {} : { crashed: facts.crashed }),
    ...(inside.length === 0
      ? {}
      : {
          in_callback: inside.map(({ method, thread }) => ({ method: methodName(method), thread })),
        }),
  };
  const time = rfc3339(facts.wallUs);
  end(state, cause, { by: 'gone', how }, state.lastCallUs, true, (draft) =>
    emit(draft.event_name === 'session.ended' ? { ...draft, time, exit } : { ...draft, time }),
  );
}

/** The newest anchor of the ring's clock to the wall clock: wall time minus monotonic time. */
export function setClock(state: SessionState, offsetUs: number): void {
  state.clockOffsetUs = offsetUs;
}

/** Notes a call, and that a quiet session is quiet no more. */
function heard(state: SessionState, cause: Cause, emit: Emit): void {
  if (state.quietSinceUs !== null) resume(state, cause, cause.timeUs, emit);
  called(state, cause.timeUs);
}

/** Notes when a call came, and how long there had been none. */
export function called(state: SessionState, timeUs: number): void {
  if (timeUs <= state.lastCallUs) return;
  const silenceUs = timeUs - state.lastCallUs - state.excusedUs;
  if (silenceUs > state.silenceUs) state.silenceUs = silenceUs;
  state.lastCallUs = timeUs;
  state.excusedUs = 0;
}

/** A `Progress` call that a frame brought: the bar, and what is to be said of it. */
function takeProgress(
  state: SessionState,
  cause: Cause,
  { call, timeUs, index, max, text }: Omit<NewestCall, 'marks'>,
  emit: Emit,
): void {
  const { last, text: textBefore } = state;
  const { call: callBefore, index: indexBefore, max: maxBefore } = last;
  takeCall(state, call, timeUs, index, max, text);
  if (index > max || index < indexBefore || max !== maxBefore) {
    const before = { call: callBefore, index: indexBefore, max: maxBefore };
    judgeBar(state, cause, { call, index, max }, before, state.text === textBefore, emit);
  }
  if (isFloodWindowOver(state, timeUs)) judgeFlood(state, cause, call, emit);
}

function isAfterDone(state: SessionState, timeUs: number): boolean {
  return state.done !== null && timeUs > state.done.timeUs;
}

function takeNote(state: SessionState, frame: Note, emit: Emit): void {
  const { key, value } = frame;
  const draft = sessionDraft(state, 'session.note', 'info', frame, `${key} = ${value}`);
  emit(Object.assign(draft, { note: { key, value } }));
  judgeNote(state, frame, frame, emit);
}

function resume(state: SessionState, cause: Cause, calledUs: number, emit: Emit): void {
  const forUs = Math.max(0, calledUs - (state.quietSinceUs ?? calledUs));
  state.quietSinceUs = null;
  emit(
    Object.assign(
      sessionDraft(
        state,
        'session.resumed',
        'info',
        cause,
        `a call after ${durationText(forUs)} without one`,
      ),
      {
        stall: { kind: 'quiet', for_us: forUs },
      },
    ),
  );
}

function emitProgress(state: SessionState, cause: Cause, emit: Emit): void {
  tellProgress(state, cause.timeUs);
  const progress = progressFields(state);
  const percent = progress.percent === null ? '' : ` ${progress.percent} %`;
  const text = state.text === null ? '' : `${state.text} `;
  const msg = `${text}${progress.index}/${progress.max}${percent}`;
  const sinceUs = Math.max(0, cause.timeUs - state.last.timeUs);
  emit(
    Object.assign(sessionDraft(state, 'session.progress', 'debug', cause, msg), {
      call: state.last.call,
      progress,
      // Without it a record says that its call came right then.
      ...(sinceUs === 0 ? {} : { since_last_call_us: sinceUs }),
    }),
  );
}

/** Before an end: the newest call is always shown. */
function flushProgress(state: SessionState, cause: Cause, emit: Emit): void {
  const ahead = state.ahead;
  if (ahead !== null) {
    takeCall(state, ahead.call, ahead.timeUs, ahead.index, ahead.max, ahead.text);
    state.ahead = null;
  }
  if (isProgressUntold(state)) emitProgress(state, cause, emit);
}

const HANDLES = ['null', 'unknown', 'same', 'different'] as const;

function takeDone(state: SessionState, frame: Done, emit: Emit): void {
  flushProgress(state, frame, emit);
  state.dones = Math.max(state.dones, frame.call);
  const isFirst = state.done === null;
  state.done ??= { hresult: frame.hresult, timeUs: frame.timeUs, thread: frame.thread };
  emit(
    Object.assign(
      sessionDraft(state, 'session.done', 'debug', frame, `Done with ${shown(frame.hresult)}`),
      {
        call: frame.call,
        error: errorFields(frame.hresult),
        done: { handle: HANDLES[frame.handle] ?? 'unknown' },
        duration_us: Math.max(0, frame.timeUs - state.openTimeUs),
      },
    ),
  );
  judgeDone(state, frame, frame, isFirst, emit);
}

function takeReturned(state: SessionState, frame: Returned, emit: Emit): void {
  state.returned = { hresult: frame.hresult, durationUs: frame.durationUs };
  const took = durationText(frame.durationUs);
  const msg = `SynchronizeInBackground returned ${shown(frame.hresult)} after ${took}`;
  emit(
    Object.assign(sessionDraft(state, 'session.returned', 'debug', frame, msg), {
      returned: {
        hresult: hex32(frame.hresult),
        name: describeHresult(frame.hresult).name,
        event: frame.event !== 0,
      },
      duration_us: frame.durationUs,
    }),
  );
  judgeReturned(state, frame, emit);
}

function takeMerged(state: SessionState, frame: Merged, emit: Emit): void {
  takeCounters(state, frame);
  const { call, timeUs, index, max, text } = frame.newest;
  if (call > 0) {
    heard(state, { ...frame, timeUs }, emit);
    takeProgress(state, frame, { call, timeUs, index, max, text }, emit);
    // Its thread is the one that recorded it, perhaps in the last Release, not the caller's.
    if (isAfterDone(state, timeUs)) judgeAfterDone(state, frame, 'Progress', emit);
    if (isProgressDue(state, frame.timeUs)) emitProgress(state, frame, emit);
  }
  tellMerged(state, frame, emit);
}

/** Says how many calls were merged since that was last said. */
function tellMerged(state: SessionState, frame: Merged, emit: Emit): void {
  const grown = state.merged - state.toldMerged;
  if (grown <= 0) return;
  state.toldMerged = state.merged;
  const calls = count(grown, 'call');
  emit(
    Object.assign(
      sessionDraft(state, 'frames.merged', 'debug', frame, `${calls} of Progress merged`),
      {
        call: state.last.call,
        progress: progressFields(state),
        since_last_call_us: Math.max(0, frame.timeUs - state.last.timeUs),
      },
    ),
  );
}

type Counted = Pick<Close, 'counters' | 'innerTimes'>;

function takeCounters(state: SessionState, { counters, innerTimes }: Counted): void {
  state.progress = Math.max(state.progress, counters.progress);
  state.errors = Math.max(state.errors, counters.errors);
  state.dones = Math.max(state.dones, counters.dones);
  state.merged = Math.max(state.merged, counters.merged);
  state.lost = Math.max(state.lost, counters.lost);
  state.innerUs = Math.max(state.innerUs, counters.innerUs);
  state.innerMaxUs = Math.max(state.innerMaxUs, counters.innerMaxUs);
  if (innerTimes === undefined) return;
  takeInnerTime(state, 0, innerTimes.progressUs, innerTimes.progressMaxUs);
  takeInnerTime(state, 1, innerTimes.errorUs, innerTimes.errorMaxUs);
  takeInnerTime(state, 2, innerTimes.doneUs, innerTimes.doneMaxUs);
}

function takeAhead(state: SessionState, newest: NewestCall): void {
  const { call, timeUs, index, max, text } = newest;
  if (call <= state.last.call) return;
  state.ahead = { call, timeUs, index, max, text };
  state.progress = Math.max(state.progress, call);
  called(state, timeUs);
}

function endAfterDone(state: SessionState, cause: Cause, heardUs: number, emit: Emit): void {
  if (state.done === null || heardUs - state.done.timeUs < END_AFTER_DONE_US) return;
  end(state, cause, { by: 'released' }, state.done.timeUs, false, emit);
}

/** @param released Nothing more comes: by the last Release, or since its process is gone. */
function end(
  state: SessionState,
  cause: Cause,
  by: EndCause,
  untilUs: number,
  released: boolean,
  emit: Emit,
): void {
  flushProgress(state, cause, emit);
  judgeEnd(state, cause, by.by === 'released', emit);
  const { outcome, reason } = judge(state, by);
  // The same whether the end came by release or by the time after Done.
  const until = state.done?.timeUs ?? untilUs;
  const durationUs = Math.max(0, until - state.openTimeUs);
  const errors = errorCount(state);
  const mark = { timeUs: until, calls: state.progress, errors };
  const took = durationText(durationUs);
  const calls = count(state.progress, 'call');
  const words = `${outcome} after ${took}, ${calls}, ${count(errors, 'error')}: ${reason}`;
  emit(
    Object.assign(sessionDraft(state, 'session.ended', levelOf(outcome), cause, words), {
      shim_version: state.origin.shimVersion,
      session: fullSessionFields(state),
      ...(state.last.call === 0 ? {} : { progress: progressFields(state) }),
      ...(state.done === null ? {} : { error: errorFields(state.done.hresult) }),
      outcome,
      outcome_reason: reason,
      duration_us: durationUs,
      since_last_call_us: Math.max(0, cause.timeUs - state.lastCallUs),
      longest_silence_us: Math.max(state.silenceUs, until - state.lastCallUs - state.excusedUs),
      ...(state.usual === null ? {} : { usual_us: state.usual.durationUs }),
      ...(released ? {} : { unreleased: true }),
      totals: totalsOf(state, durationUs),
      phases: listPhases(state.phases, mark, state.last),
    }),
  );
  endSession(state, { outcome, reason, durationUs }, released);
}

function totalsOf(state: SessionState, durationUs = 0): NonNullable<RecordDraft['totals']> {
  const share = (us: number): number => Math.round((us / durationUs) * 1000) / 1000;
  const byMethod = METHOD_NAMES.map((method, at) => [method, state.innerTimes[at]!] as const)
    .filter(([, { us }]) => us > 0)
    .map(([method, { us, maxUs }]) => {
      const part = durationUs === 0 ? {} : { share: share(us) };
      return [method, { us, max_us: maxUs, ...part }] as const;
    });
  const slow = METHOD_NAMES.map((method, at) => [method, state.innerSlow[at]!] as const)
    .filter(([, { calls }]) => calls > 0)
    .map(([method, { calls, us, maxUs }]) => [method, { calls, us, max_us: maxUs }] as const);
  return {
    progress: state.progress,
    errors: errorCount(state),
    warnings: state.warnings,
    merged: state.merged,
    lost: state.lost,
    checks: firedCount(state.fired),
    inner_us: state.innerUs,
    inner_max_us: state.innerMaxUs,
    ...(durationUs === 0 ? {} : { inner_share: share(state.innerUs) }),
    ...(byMethod.length === 0 ? {} : { inner_by_method: Object.fromEntries(byMethod) }),
    ...(slow.length === 0 ? {} : { inner_slow: Object.fromEntries(slow) }),
  };
}
