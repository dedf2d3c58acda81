import type {
  ErrorFields,
  EventName,
  Level,
  MethodName,
  RecordDraft,
  SessionFields,
} from '../records/record.ts';
import { rfc3339 } from '../records/time.ts';
import { describeHresult } from './hresults.ts';
import type { Opened, SessionState } from './state.ts';
import { decodeSyncFlags, hex32 } from './sync-flags.ts';

/** The parts that records of a session are made of. */

export const ATTACH_NAMES = ['tee', 'wrap', 'sink'] as const;
export const METHOD_NAMES = ['Progress', 'Error', 'Done'] as const;

export function methodName(method: number): MethodName {
  return METHOD_NAMES[method - 1] ?? 'Progress';
}

export function attachName(attach: number): (typeof ATTACH_NAMES)[number] {
  return ATTACH_NAMES[attach - 1] ?? 'tee';
}

/** Where in the stream a record comes from. `seq` 0: from no frame. */
export interface Cause {
  readonly timeUs: number;
  readonly seq: number;
  readonly thread: number;
}

/** A record that is being made, until it is emitted. */
export type Draft = { -readonly [Key in keyof RecordDraft]: RecordDraft[Key] };

/** What all records of a session have in common. */
interface Common {
  readonly process: NonNullable<RecordDraft['process']>;
  readonly session: SessionFields;
  readonly label: string;
}

const commons = new WeakMap<Opened, Common>();

/** The same objects each time, by which whoever makes lines knows that it has written them before. */
function commonOf(state: SessionState): Common {
  let common = commons.get(state);
  if (common === undefined) {
    const { origin } = state;
    common = {
      process: processFields(origin),
      session: sessionFields(state),
      label: label(state),
    };
    commons.set(state, common);
  }
  return common;
}

/** What each record of a session has. To be added to: a spread of so many members is slow. */
export function sessionDraft(
  state: SessionState,
  event: EventName,
  level: Level,
  cause: Cause,
  msg: string,
): Draft {
  const common = commonOf(state);
  const draft: Draft = {
    event_name: event,
    level,
    time: rfc3339(cause.timeUs + state.clockOffsetUs),
    msg: `${common.label}: ${msg}`,
    trace_id: state.traceId,
    span_id: state.id,
    trace_flags: 1,
    process: common.process,
    ring: state.origin.ring,
    session: common.session,
    mono_us: cause.timeUs,
  };
  if (cause.thread !== 0) draft.thread = { id: cause.thread };
  if (cause.seq !== 0) draft.seq = cause.seq;
  return draft;
}

export function processFields(origin: SessionState['origin']): NonNullable<RecordDraft['process']> {
  return { pid: origin.pid, arch: origin.arch, executable: { name: origin.executable } };
}

export function sessionFields(state: SessionState): SessionFields {
  return {
    id: state.id,
    ...(state.provider === null ? {} : { provider: state.provider }),
    ...(state.store === null ? {} : { store: state.store }),
    attach: attachName(state.attach),
  };
}

/** With what the provider was asked to do: for the first and the last record of a session. */
export function fullSessionFields(state: SessionState): SessionFields {
  const fields = sessionFields(state);
  if (state.flags === null) return fields;
  const { names, rest, userInitiated } = decodeSyncFlags(state.flags);
  return {
    ...fields,
    flags: rest === undefined ? names : [...names, rest],
    flags_raw: hex32(state.flags),
    user_initiated: userInitiated,
  };
}

/** What people call the session. */
export function label(state: SessionState): string {
  const names = [state.provider, state.store].filter((name) => name !== null && name !== '');
  return names.length === 0 ? `Session ${state.id}` : names.join(', ');
}

export type ErrorDraft = { -readonly [Key in keyof ErrorFields]: ErrorFields[Key] };

export function errorFields(hresult: number): ErrorDraft {
  const { hex, name, aliases, severity, class: errorClass } = describeHresult(hresult);
  const fields: ErrorDraft = { hresult: hex, name, severity, class: errorClass };
  if (aliases.length > 0) fields.aliases = aliases;
  return fields;
}

/** `4.2 s`, `1:03:20` */
export function durationText(us: number): string {
  const seconds = us / 1_000_000;
  if (seconds < 0.1) return `${Math.round(us / 100) / 10} ms`;
  if (seconds < 60) return `${Math.round(seconds * 10) / 10} s`;
  const whole = Math.floor(seconds);
  const two = (n: number): string => String(n).padStart(2, '0');
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600);
  const tail = two(whole % 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${tail}` : `${minutes}:${tail}`;
}
