import type { ErrorFields, Outcome, RecordDraft } from '../records/record.ts';
import { cutText } from '../records/text.ts';
import { parseRfc3339 } from '../records/time.ts';
import { firedBit, firedCodes } from './checks.ts';
import { ATTACH_NAMES, METHOD_NAMES } from './drafts.ts';
import { countError, repeatKey } from './errors.ts';
import { cameOut, countInner } from './inner.ts';
import type { Phase } from './phases.ts';
import { MAX_PHASES } from './phases.ts';
import { takeCall, tellProgress } from './progress.ts';
import { called } from './session.ts';
import type { LastCall, Rate, SessionState } from './state.ts';
import {
  blankSession,
  cutOrNull,
  endSession,
  MAX_BLOCKED,
  MAX_ERROR_TEXT_BYTES,
  MAX_LABEL_BYTES,
  MAX_REPEATS,
  MAX_STATE_TEXT_BYTES,
} from './state.ts';

/**
 * A session to plain JSON and back, and from the journal's records. Records that follow a snapshot give
 * back the live state; only the phase bookkeeping since the newest `session.progress` may differ.
 *
 * What is read may have been written by anybody: it is checked, and what makes no sense is left out.
 */

/** Members of the state that are one number each. */
const NUMBERS = [
  'clockOffsetUs',
  'textCall',
  'lastCallUs',
  'excusedUs',
  'errors',
  'dones',
  'progress',
  'warnings',
  'oddities',
  'failures',
  'merged',
  'lost',
  'innerUs',
  'innerMaxUs',
  'toldMerged',
  'silenceUs',
  'floodUs',
  'floodCall',
  'floodForUs',
] as const satisfies readonly (keyof SessionState)[];

const RATE_NUMBERS = [
  'runUs',
  'sampleUs',
  'sampleIndex',
  'sum',
  'weight',
  'longSum',
  'longWeight',
] as const satisfies readonly (keyof Rate)[];

/** @returns Plain JSON of at most about 8 KiB. Private to the daemon: no contract. */
export function snapshotSession(state: SessionState): unknown {
  const { phases } = state;
  return {
    origin: state.origin,
    session: state.session,
    attach: state.attach,
    flags: state.flags,
    provider: state.provider,
    store: state.store,
    openTimeUs: state.openTimeUs,
    openWallUs: state.openWallUs,
    callback: state.callback,
    numbers: NUMBERS.map((name) => state[name]),
    last: callTuple(state.last),
    text: state.text,
    ahead: state.ahead === null ? null : [...callTuple(state.ahead), state.ahead.text],
    rate: { ...state.rate },
    phases: phases.closed.map(phaseTuple),
    rest: phases.rest === null ? null : phaseTuple(phases.rest),
    phase: phases.current === null ? null : { ...phases.current },
    repeats: [...state.repeats],
    lastError: state.lastError,
    told: callTuple(state.told),
    textUntold: state.textUntold,
    done: state.done,
    returned: state.returned,
    blocked: state.blocked.map(({ thread, method, sinceUs }) => [thread, method, sinceUs]),
    quietSinceUs: state.quietSinceUs,
    ended: state.ended,
    released: state.released,
    fired: firedCodes(state.fired),
    innerTimes: state.innerTimes.map(({ us, maxUs }) => [us, maxUs]),
    innerSlow: state.innerSlow.map(({ calls, us, maxUs }) => [calls, us, maxUs]),
  };
}

/** @returns `undefined` if `snapshot` is none of ours. */
export function restoreSession(snapshot: unknown): SessionState | undefined {
  const from = object(snapshot);
  const origin = originOf(object(from.origin));
  const session = seqOf(from.session);
  if (origin === undefined || session === undefined) return undefined;
  const state = blankSession({
    origin,
    session,
    attach: number(from.attach),
    flags: numberOrNull(from.flags),
    provider: cutOrNull(stringOrNull(from.provider), MAX_LABEL_BYTES),
    store: cutOrNull(stringOrNull(from.store), MAX_LABEL_BYTES),
    openTimeUs: number(from.openTimeUs),
    openWallUs: number(from.openWallUs),
    callback: from.callback !== false,
  });
  const numbers = array(from.numbers);
  NUMBERS.forEach((name, at) => {
    state[name] = number(numbers[at]);
  });
  state.last = callOf(from.last);
  state.told = callOf(from.told);
  state.text = cutOrNull(stringOrNull(from.text), MAX_STATE_TEXT_BYTES);
  if (Array.isArray(from.ahead)) {
    const text = cutOrNull(stringOrNull(from.ahead[4]), MAX_STATE_TEXT_BYTES);
    state.ahead = { ...callOf(from.ahead), text };
  }
  const rate = object(from.rate);
  for (const name of RATE_NUMBERS) {
    state.rate[name] = number(rate[name]);
  }
  restorePhases(state, from);
  state.repeats = new Map(
    array(from.repeats)
      .slice(0, MAX_REPEATS)
      .map((entry) => array(entry))
      .map(([key, times]) => [number(key), number(times)]),
  );
  state.lastError = errorOf(from.lastError);
  state.textUntold = from.textUntold === true;
  if (isObject(from.done)) {
    const { hresult, timeUs, thread } = from.done;
    state.done = { hresult: number(hresult), timeUs: number(timeUs), thread: number(thread) };
  }
  if (isObject(from.returned)) {
    const { hresult, durationUs } = from.returned;
    state.returned = { hresult: number(hresult), durationUs: number(durationUs) };
  }
  state.blocked = array(from.blocked)
    .slice(0, MAX_BLOCKED)
    .map(array)
    .map(([thread, method, sinceUs]) => ({
      thread: number(thread),
      method: number(method),
      sinceUs: number(sinceUs),
    }));
  state.quietSinceUs = numberOrNull(from.quietSinceUs);
  state.ended = endedOf(from.ended);
  state.released = from.released === true;
  state.fired = array(from.fired).reduce<number>((all, code) => all | firedBit(String(code)), 0);
  array(from.innerTimes)
    .slice(0, state.innerTimes.length)
    .map(array)
    .forEach(([us, maxUs], at) => {
      state.innerTimes[at] = { us: number(us), maxUs: number(maxUs) };
    });
  array(from.innerSlow)
    .slice(0, state.innerSlow.length)
    .map(array)
    .forEach(([calls, us, maxUs], at) => {
      state.innerSlow[at] = { calls: number(calls), us: number(us), maxUs: number(maxUs) };
    });
  return state;
}

/**
 * Takes the next record of the journal that is about this session.
 *
 * @returns The state after it, changed in place. `undefined` once its process is gone, or as long as
 * nothing is known of it. One that has ended otherwise is kept: calls may come all the same.
 */
export function foldRecord(
  state: SessionState | undefined,
  record: RecordDraft,
): SessionState | undefined {
  const name = record.event_name;
  if (name === 'snapshot.session') return restoreSession(record.state);
  if (name === 'session.opened') return foldOpened(record);
  if (name === 'session.ended' && record.exit !== undefined) return undefined;
  if (state !== undefined) foldInto(state, record);
  return state;
}

function foldInto(state: SessionState, record: RecordDraft): void {
  const timeUs = record.mono_us ?? 0;
  const call = record.call ?? 0;
  switch (record.event_name) {
    case 'session.progress':
    case 'frames.merged':
      foldProgress(state, record, timeUs, call);
      break;
    case 'session.error':
      recalled(state, timeUs);
      foldError(state, record.error, call);
      break;
    case 'session.check':
      foldCheck(state, record, call);
      break;
    case 'session.done':
      recalled(state, timeUs);
      state.dones = Math.max(state.dones, call);
      state.done ??= {
        hresult: Number(record.error?.hresult ?? 0),
        timeUs,
        thread: record.thread?.id ?? 0,
      };
      break;
    case 'session.returned':
      state.returned = {
        hresult: Number(record.returned?.hresult ?? 0),
        durationUs: record.duration_us ?? 0,
      };
      break;
    case 'session.inner_slow': {
      const { method = 'Progress', duration_us = 0 } = record.inner ?? {};
      countInner(state, METHOD_NAMES.indexOf(method) + 1, duration_us);
      break;
    }
    case 'session.stalled':
    case 'session.resumed':
      foldStall(state, record, timeUs);
      break;
    case 'session.ended': {
      const { outcome, outcome_reason: reason, duration_us: durationUs, totals } = record;
      if (totals !== undefined) {
        state.progress = Math.max(state.progress, number(totals.progress));
        state.merged = Math.max(state.merged, number(totals.merged));
      }
      const ended = endedOf({ outcome, reason, durationUs });
      if (ended !== null) endSession(state, ended, record.unreleased !== true);
      break;
    }
    case 'session.released':
      state.released = true;
      break;
    default:
      break;
  }
}

function foldOpened(record: RecordDraft): SessionState | undefined {
  const process = object(record.process);
  const origin = originOf({
    ring: record.ring,
    pid: process.pid,
    arch: process.arch,
    executable: object(process.executable).name,
    shimVersion: record.shim_version,
  });
  const session = object(record.session);
  const seq = seqOf(record.seq);
  const openWallUs = parseRfc3339(String(record.time));
  if (origin === undefined || seq === undefined || openWallUs === undefined) return undefined;
  return blankSession({
    origin,
    session: seq,
    attach: (ATTACH_NAMES as readonly unknown[]).indexOf(session.attach) + 1,
    flags: typeof session.flags_raw === 'string' ? number(Number(session.flags_raw)) : null,
    provider: cutOrNull(stringOrNull(session.provider), MAX_LABEL_BYTES),
    store: cutOrNull(stringOrNull(session.store), MAX_LABEL_BYTES),
    openTimeUs: number(record.mono_us),
    openWallUs,
    callback: record.detail?.callback !== false,
  });
}

function foldProgress(
  state: SessionState,
  record: RecordDraft,
  timeUs: number,
  call: number,
): void {
  const { progress } = record;
  if (progress === undefined) return;
  const calledUs = timeUs - (record.since_last_call_us ?? 0);
  takeCall(state, call, calledUs, progress.index, progress.max, progress.text ?? null);
  state.progress = Math.max(state.progress, progress.calls);
  state.merged = Math.max(state.merged, progress.merged ?? 0);
  recalled(state, calledUs);
  if (record.event_name === 'frames.merged') state.toldMerged = state.merged;
  else tellProgress(state, timeUs);
}

function foldError(state: SessionState, error: ErrorFields | undefined, call: number): void {
  if (error === undefined) return;
  const hresult = Number(error.hresult);
  countError(state, hresult, call);
  if (error.repeat !== undefined) {
    state.repeats.set(repeatKey(hresult, error.text ?? null), error.repeat);
  }
  state.lastError = errorOf(error);
}

/** Of calls that have no record it is only known that they came less than this apart. */
const SURE_SILENCE_US = 5_000_000;

function recalled(state: SessionState, timeUs: number): void {
  const { silenceUs } = state;
  called(state, timeUs);
  if (state.silenceUs < SURE_SILENCE_US) state.silenceUs = silenceUs;
}

function foldCheck(state: SessionState, { check, error }: RecordDraft, call: number): void {
  if (check === undefined) return;
  state.fired |= firedBit(check.code);
  // A call that has no other record.
  if (error === undefined) return;
  if (check.code === 'MS001') countError(state, Number(error.hresult), call);
  if (check.code === 'MS002') state.dones = Math.max(state.dones, call);
}

function foldStall(state: SessionState, record: RecordDraft, timeUs: number): void {
  const { stall } = record;
  if (stall === undefined) return;
  const isOver = record.event_name === 'session.resumed';
  if (stall.kind === 'quiet') {
    state.quietSinceUs = isOver ? null : state.lastCallUs;
    if (isOver) recalled(state, timeUs);
    return;
  }
  const thread = stall.thread ?? 0;
  state.blocked = state.blocked.filter((call) => call.thread !== thread).slice(1 - MAX_BLOCKED);
  if (isOver) {
    cameOut(state, timeUs);
    return;
  }
  const method = METHOD_NAMES.indexOf(stall.method ?? 'Progress') + 1;
  state.blocked.push({ thread, method, sinceUs: timeUs - stall.for_us });
}

type CallTuple = [call: number, timeUs: number, index: number, max: number];

function callTuple({ call, timeUs, index, max }: LastCall): CallTuple {
  return [call, timeUs, index, max];
}

function callOf(tuple: unknown): LastCall {
  const [call, timeUs, index, max] = array(tuple);
  return { call: number(call), timeUs: number(timeUs), index: number(index), max: number(max) };
}

function phaseTuple(phase: Phase): unknown {
  return [phase.text, phase.durationUs, phase.calls, phase.errors, phase.index, phase.max];
}

function phaseOf(tuple: unknown): Phase {
  const [text, durationUs, calls, errors, index, max] = array(tuple);
  return {
    text: stringOrNull(text),
    durationUs: number(durationUs),
    calls: number(calls),
    errors: number(errors),
    index: number(index),
    max: number(max),
  };
}

function restorePhases(state: SessionState, from: Record<string, unknown>): void {
  state.phases.closed = array(from.phases)
    .slice(0, MAX_PHASES - 1)
    .map(phaseOf);
  state.phases.rest = Array.isArray(from.rest) ? phaseOf(from.rest) : null;
  if (!isObject(from.phase)) return;
  const current = from.phase;
  const { timeUs, calls, errors } = object(current.begin);
  state.phases.current = {
    text: stringOrNull(current.text),
    begin: { timeUs: number(timeUs), calls: number(calls), errors: number(errors) },
  };
}

function originOf(from: Record<string, unknown>): SessionState['origin'] | undefined {
  const { ring, executable, shimVersion } = from;
  if (typeof ring !== 'string' || !/^[0-9a-f]{32}$/.test(ring)) return undefined;
  return {
    ring,
    pid: number(from.pid),
    arch: from.arch === 'x86' ? 'x86' : 'x64',
    executable: typeof executable === 'string' ? executable : '',
    shimVersion: typeof shimVersion === 'string' ? shimVersion : '',
  };
}

function seqOf(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && Number(value) > 0 ? Number(value) : undefined;
}

function endedOf(from: unknown): SessionState['ended'] {
  const { outcome, reason, durationUs } = object(from);
  if (typeof outcome !== 'string' || typeof reason !== 'string') return null;
  return { outcome: outcome as Outcome, reason, durationUs: number(durationUs) };
}

/** As the reducer keeps it. */
function errorOf(from: unknown): ErrorFields | null {
  const { hresult, name, text } = object(from);
  if (typeof hresult !== 'string' || typeof name !== 'string') return null;
  const fields = from as ErrorFields;
  return typeof text === 'string'
    ? { ...fields, text: cutText(text, MAX_ERROR_TEXT_BYTES) }
    : { ...fields };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function object(value: unknown): Record<string, unknown> {
  return isObject(value) ? value : {};
}

function array(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

function numberOrNull(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function stringOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
