import type { Level, PhaseFields, RecordDraft } from './record.ts';
import { SEVERITY_NUMBER } from './record.ts';
import { cutText, escapeLine } from './text.ts';

/** From a draft to the line of the journal. */

export { escapeLine };

/** A line without its newline. */
export const MAX_LINE_BYTES = 16_384;
/** What the journal keeps of one text. */
export const MAX_LINE_TEXT_BYTES = 2048;
/** Text that all together is shorter than this fits whatever stands beside it: at most a `state` of 8 KiB. */
const SURE_TO_FIT_UNITS = 256;
/** Each further try to fit a line halves what every text gets, down to this. */
const MIN_TEXT_BYTES = 16;

/** What the daemon adds to each record. */
export interface LineContext {
  readonly service: {
    readonly name: string;
    readonly version: string;
    readonly instance_id: string;
  };
  /** Name of this machine. */
  readonly host: string;
  /** Numbers the record if no frame caused it. Unique within the instance. */
  readonly counter: number;
}

/** A whole record, as the schema has it. */
export interface FinishedRecord extends RecordDraft {
  readonly v: 1;
  readonly severity_number: (typeof SEVERITY_NUMBER)[Level];
  readonly event_id: string;
  readonly service: LineContext['service'];
  readonly host: { readonly name: string };
}

/**
 * Completes a draft: version, severity, id, service and host, fields in the order of the docs, text
 * shortened so that the line is at most `MAX_LINE_BYTES`.
 */
export function finishRecord(draft: RecordDraft, context: LineContext): FinishedRecord {
  const { level } = draft;
  // What comes first is listed first; members without a value are not in the line. Spreads that leave
  // something out would take several times as long.
  const head = {
    v: 1 as const,
    time: draft.time,
    observed_time: draft.observed_time,
    level,
    severity_number: SEVERITY_NUMBER[level],
    event_name: draft.event_name,
    event_id: draft.event_id ?? `${context.service.instance_id}-${context.counter}`,
    group: draft.group,
    msg: draft.msg,
    trace_id: draft.trace_id,
    span_id: draft.span_id,
    trace_flags: draft.trace_flags,
    service: context.service,
    host: { name: context.host },
    process: draft.process,
    ring: draft.ring,
    session: draft.session,
  };
  return shorten(Object.assign(head, draft) as FinishedRecord);
}

/** The line of a record, without its newline. */
export function toLine(record: FinishedRecord): string {
  return escapeLine(JSON.stringify(record));
}

/**
 * Cuts texts at `MAX_LINE_TEXT_BYTES` each, and further until the line is at most `MAX_LINE_BYTES`. Sets
 * `truncated` if it cut anything. Never touches `state`, which is bounded where it is made.
 */
export function shorten(record: FinishedRecord): FinishedRecord {
  if (isSureToFit(record)) return record;
  let shorter = cutTexts(record, MAX_LINE_TEXT_BYTES);
  for (let bytes = MAX_LINE_TEXT_BYTES / 2; !fits(shorter) && bytes >= MIN_TEXT_BYTES; bytes /= 2) {
    shorter = cutTexts(record, bytes);
  }
  return shorter;
}

/** Whether `shorten()` leaves the record alone without a look at its line. */
export function isSureToFit(record: RecordDraft): boolean {
  return textUnits(record) <= SURE_TO_FIT_UNITS;
}

function fits(record: FinishedRecord): boolean {
  return Buffer.byteLength(toLine(record)) <= MAX_LINE_BYTES;
}

/** Units of UTF-16 in all texts that come from a host. */
function textUnits(record: RecordDraft): number {
  let units = record.msg.length + (record.outcome_reason?.length ?? 0);
  units += record.progress?.text?.length ?? 0;
  units += record.error?.text?.length ?? 0;
  units += (record.session?.provider?.length ?? 0) + (record.session?.store?.length ?? 0);
  units += (record.note?.key.length ?? 0) + (record.note?.value.length ?? 0);
  units += (record.check?.detail.length ?? 0) + (record.process?.executable?.name.length ?? 0);
  units += (record.shim_version?.length ?? 0) + (record.phases === undefined ? 0 : Infinity);
  return record.detail === undefined ? units : Infinity;
}

function cutTexts(record: FinishedRecord, maxBytes: number): FinishedRecord {
  let truncated = record.truncated;
  const cut = (text: string): string => {
    const shorter = cutText(text, maxBytes);
    if (shorter !== text) truncated = true;
    return shorter;
  };
  const member = <K extends string>(
    of: object | undefined,
    key: K,
  ): Record<K, string> | undefined => {
    const text = (of as Record<string, unknown> | undefined)?.[key];
    return typeof text === 'string' ? ({ [key]: cut(text) } as Record<K, string>) : undefined;
  };
  const { progress, error, session, note, check, phases, process, detail } = record;
  const shorter: FinishedRecord = {
    ...record,
    msg: cut(record.msg),
    ...member(record, 'outcome_reason'),
    ...member(record, 'shim_version'),
    ...(progress && { progress: { ...progress, ...member(progress, 'text') } }),
    ...(error && { error: { ...error, ...member(error, 'text') } }),
    ...(session && {
      session: { ...session, ...member(session, 'provider'), ...member(session, 'store') },
    }),
    ...(note && { note: { key: cut(note.key), value: cut(note.value) } }),
    ...(check && { check: { ...check, detail: cut(check.detail) } }),
    ...(process?.executable && {
      process: { ...process, executable: { name: cut(process.executable.name) } },
    }),
    ...(phases && {
      phases: phases.map((phase): PhaseFields => ({ ...phase, ...member(phase, 'text') })),
    }),
    ...(detail && {
      detail: Object.fromEntries(
        Object.entries(detail).map(([key, value]) => [
          key,
          typeof value === 'string' ? cut(value) : value,
        ]),
      ),
    }),
  };
  return truncated === undefined ? shorter : { ...shorter, truncated };
}
