import type { RecordDraft } from '../records/record.ts';
import { cutText } from '../records/text.ts';
import { rfc3339 } from '../records/time.ts';
import { MAX_LABEL_BYTES, MAX_PHASE_TEXT_BYTES } from './state.ts';

/**
 * What earlier syncs of each store were like, from their `session.ended` records: what a sync usually
 * takes, in all and by phase, and for how long it is usually silent. Only syncs that came to a result
 * count. Pure; the map is its owner's, changed in place.
 */
export type History = Map<string, StoreHistory>;

/** Stores that are remembered; the one that synced longest ago is forgotten first. */
export const MAX_STORES = 64;
/** Syncs of one store. */
export const MAX_SYNCS = 8;
/** Phases of one store. */
export const MAX_STORE_PHASES = 16;
/** Of fewer nobody can say what is usual. */
export const MIN_SYNCS = 3;

export interface StoreHistory {
  readonly provider: string | null;
  readonly store: string;
  /** Syncs that came to a result, since the store is known. */
  count: number;
  /** Of the last `MAX_SYNCS`, oldest first. */
  durationsUs: number[];
  silencesUs: number[];
  /** In the order of the newest sync. As many durations as above; 0 where a sync had no such phase. */
  phases: { readonly text: string; readonly durationsUs: number[] }[];
}

/** What to expect of a sync. */
export interface Usual {
  readonly durationUs: number;
  /** A sync that is silent for longer is stalled. */
  readonly quietUs: number;
  /** Those that usually take some time, in order. */
  readonly phases: readonly { readonly text: string; readonly durationUs: number }[];
}

/** Silence that nobody learns to take for a stall, and silence that always is one. */
export const MIN_QUIET_US = 30_000_000;
export const MAX_QUIET_US = 600_000_000;
const QUIET_TIMES = 3;

const RESULTS: ReadonlySet<unknown> = new Set(['ok', 'ok_with_errors', 'warned']);

/** Takes a record of the journal, `session.ended` or `snapshot.store`; leaves alone what is neither. */
export function foldIntoHistory(history: History, record: RecordDraft): void {
  if (record.event_name === 'session.ended') takeEnded(history, record);
  else if (record.event_name === 'snapshot.store') restoreStore(history, record.state);
}

/** @returns `undefined` if too little is known, or if the session has no store label. */
export function usualOf(
  history: History,
  session: { readonly provider: string | null; readonly store: string | null },
): Usual | undefined {
  if (session.store === null || session.store === '') return undefined;
  const known = history.get(keyOf(session.provider, session.store));
  if (known === undefined || known.durationsUs.length < MIN_SYNCS) return undefined;
  const quietUs = QUIET_TIMES * median(known.silencesUs);
  return {
    durationUs: median(known.durationsUs),
    quietUs: Math.min(MAX_QUIET_US, Math.max(MIN_QUIET_US, quietUs)),
    phases: known.phases
      .map(({ text, durationsUs }) => ({ text, durationUs: median(durationsUs) }))
      .filter(({ durationUs }) => durationUs > 0),
  };
}

/** What stands at the head of a segment of the journal: one record for each store. */
export function historyDrafts(history: History, atWallUs: number): RecordDraft[] {
  return [...history.values()].map(({ provider, store, count, ...rest }) => ({
    event_name: 'snapshot.store',
    level: 'debug',
    time: rfc3339(atWallUs),
    msg: `${store}: ${count} syncs`,
    state: { provider, store, count, ...rest },
  }));
}

const keyOf = (provider: string | null, store: string): string => JSON.stringify([provider, store]);

function takeEnded(history: History, record: RecordDraft): void {
  const { session, outcome, duration_us: durationUs, longest_silence_us: silenceUs = 0 } = record;
  const store = session?.store;
  if (store === undefined || store === '' || durationUs === undefined) return;
  if (!RESULTS.has(outcome)) return;
  const provider = session?.provider ?? null;
  const key = keyOf(provider, store);
  const known = history.get(key) ?? blank(provider, store);
  known.count += 1;
  const before = known.durationsUs.length;
  push(known.durationsUs, durationUs);
  push(known.silencesUs, silenceUs);
  takePhases(known, record, before);
  keep(history, key, known);
}

function takePhases(known: StoreHistory, { phases = [] }: RecordDraft, before: number): void {
  const took = new Map<string, number>();
  for (const { text = '', duration_us } of phases) {
    // A mark between two phases has no text.
    if (text !== '') took.set(text, (took.get(text) ?? 0) + duration_us);
  }
  const old = new Map(known.phases.map(({ text, durationsUs }) => [text, durationsUs]));
  for (const text of old.keys()) if (!took.has(text)) took.set(text, 0);
  known.phases = [...took]
    .map(([text, us]) => {
      const durationsUs = old.get(text) ?? new Array<number>(before).fill(0);
      push(durationsUs, us);
      return { text, durationsUs };
    })
    .filter(({ durationsUs }) => durationsUs.some((us) => us > 0))
    .slice(0, MAX_STORE_PHASES);
}

function push(numbers: number[], next: number): void {
  numbers.push(next);
  if (numbers.length > MAX_SYNCS) numbers.shift();
}

function keep(history: History, key: string, known: StoreHistory): void {
  history.delete(key);
  history.set(key, known);
  for (const oldest of history.keys()) {
    if (history.size <= MAX_STORES) return;
    history.delete(oldest);
  }
}

function blank(provider: string | null, store: string): StoreHistory {
  return { provider, store, count: 0, durationsUs: [], silencesUs: [], phases: [] };
}

/** What is read may have been written by anybody: what makes no sense is left out. */
function restoreStore(history: History, state: unknown): void {
  if (typeof state !== 'object' || state === null) return;
  const from = state as Partial<Record<keyof StoreHistory, unknown>>;
  if (typeof from.store !== 'string' || from.store === '') return;
  const provider =
    typeof from.provider === 'string' ? cutText(from.provider, MAX_LABEL_BYTES) : null;
  const store = cutText(from.store, MAX_LABEL_BYTES);
  const durationsUs = numbers(from.durationsUs);
  const known: StoreHistory = {
    ...blank(provider, store),
    count: isCount(from.count) ? from.count : durationsUs.length,
    durationsUs,
    silencesUs: numbers(from.silencesUs),
    phases: (Array.isArray(from.phases) ? from.phases : [])
      .slice(0, MAX_STORE_PHASES)
      .filter((phase): phase is { text: string; durationsUs: unknown } => {
        return typeof phase === 'object' && phase !== null && typeof phase.text === 'string';
      })
      .map((phase) => ({
        text: cutText(phase.text, MAX_PHASE_TEXT_BYTES),
        durationsUs: numbers(phase.durationsUs),
      })),
  };
  keep(history, keyOf(provider, store), known);
}

function numbers(value: unknown): number[] {
  return Array.isArray(value) ? value.filter(isCount).slice(-MAX_SYNCS) : [];
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** 0 of none. Of an even number the lower of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 1] ?? 0;
}
