/**
 * A record as it may leave for another reader or machine. What is known to be of a closed list, a number or
 * an id goes out as it is; every other text goes through `hide`, also in fields that are not known here, so
 * that a new field is hidden until somebody decides otherwise.
 */
import type { FinishedRecord } from './line.ts';
import type { RecordDraft } from './record.ts';

/** `token`: the same text has the same token, by a key of this machine. `drop`: no text at all. */
export const TEXT_POLICIES = ['token', 'plain', 'drop'] as const;
export type TextPolicy = (typeof TEXT_POLICIES)[number];

/** Texts that cannot name anybody: made by us, from closed lists. Paths without marks for arrays. */
const OPEN_TEXTS: ReadonlySet<string> = new Set([
  ...['time', 'observed_time', 'level', 'event_name', 'event_id'],
  ...['trace_id', 'span_id', 'ring', 'outcome', 'outcome_reason', 'cursor'],
  ...['service.name', 'service.version', 'service.instance_id', 'process.arch'],
  ...['session.id', 'session.attach', 'session.flags', 'session.flags_raw'],
  ...['error.hresult', 'error.name', 'error.aliases', 'error.severity', 'error.class'],
  ...['inner.method', 'inner.hresult', 'stall.kind', 'stall.method', 'exit.in_callback.method'],
  ...['check.code', 'check.severity', 'done.handle', 'returned.hresult', 'returned.name'],
  ...['lost.reason', 'refusal.reason', 'trimmed.reader', 'export.name', 'export.cause'],
  ...['detail.platform', 'detail.arch', 'detail.node', 'detail.journal_sync', 'detail.cause'],
]);

/** The schema wants them: with `drop` they are empty. */
const WANTED_TEXTS: ReadonlySet<string> = new Set([
  ...['check.detail', 'note.key', 'note.value', 'process.executable.name'],
  // The first record of a session has it; a version is open, whatever else stands there is not.
  'shim_version',
]);

const VERSION = /^\d{1,5}\.\d{1,5}\.\d{1,5}$/;

/** A field, by what it is called inside its parent. */
interface Field {
  isOpen: boolean;
  isWanted: boolean;
  readonly members: Map<string, Field>;
}

const newField = (): Field => ({ isOpen: false, isWanted: false, members: new Map() });

/** The paths above as a tree, so that no path has to be put together for each field of each record. */
const KNOWN = newField();
for (const path of [...OPEN_TEXTS, ...WANTED_TEXTS]) {
  let field = KNOWN;
  for (const name of path.split('.')) {
    const member = field.members.get(name) ?? newField();
    field.members.set(name, member);
    field = member;
  }
  field.isOpen ||= OPEN_TEXTS.has(path);
  field.isWanted ||= WANTED_TEXTS.has(path);
}

const SHIM_VERSION = KNOWN.members.get('shim_version');

/** Changes records in place of nothing: each call gives a new one. */
export type Privacy = (record: FinishedRecord) => FinishedRecord;

/** @param token What stands for a text; of the host's name also with `drop`, to tell machines apart. */
export function privacyOf(policy: TextPolicy, token: (text: string) => string): Privacy {
  if (policy === 'plain') return ({ state: _, ...record }) => record;
  const hide = policy === 'token' ? token : (): string => '';
  return (record) => {
    const hidden = hideMembers(record, KNOWN, hide);
    hidden.msg = sentence(record);
    hidden.host = { name: token(record.host.name) };
    return hidden as unknown as FinishedRecord;
  };
}

/** Said anew, or of no use outside. */
const LEFT_OUT: ReadonlySet<string> = new Set(['state', 'msg', 'host']);

function hideMembers(
  object: object,
  field: Field | undefined,
  hide: (text: string) => string,
): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const name of Object.keys(object)) {
    if (field === KNOWN && LEFT_OUT.has(name)) continue;
    const value = (object as Record<string, unknown>)[name];
    const hidden = hideTexts(value, field?.members.get(name), hide);
    if (hidden !== undefined) copy[name] = hidden;
  }
  return copy;
}

function hideTexts(
  value: unknown,
  field: Field | undefined,
  hide: (text: string) => string,
): unknown {
  if (typeof value === 'string') {
    if (field?.isOpen || (field === SHIM_VERSION && VERSION.test(value))) return value;
    const hidden = hide(value);
    return hidden === '' && !field?.isWanted ? undefined : hidden;
  }
  if (Array.isArray(value)) {
    return value.map((one) => hideTexts(one, field, hide)).filter((one) => one !== undefined);
  }
  if (typeof value !== 'object' || value === null) return value;
  return hideMembers(value, field, hide);
}

/** `msg` of a record from nothing but open fields. */
function sentence(record: RecordDraft): string {
  const { progress, error, outcome, check, stall, refusal, export: exporter, lost } = record;
  const facts = [
    outcome,
    progress && `${progress.index}/${progress.max}`,
    error && (error.name === error.hresult ? error.name : `${error.name} ${error.hresult}`),
    check && `${check.code} ${check.severity}`,
    stall?.kind,
    record.returned?.name,
    lost && `lost ${Object.values(lost.by_kind).reduce((sum, count) => sum + count, 0)}`,
    refusal && `${refusal.reason} x${refusal.count}`,
    exporter?.name,
    exporter?.cause,
  ].filter(Boolean);
  return facts.length === 0 ? record.event_name : `${record.event_name}: ${facts.join(', ')}`;
}
