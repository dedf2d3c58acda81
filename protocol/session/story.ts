/**
 * What one session was, from the journal's records of it: how it ended, where its time went, what went
 * wrong, and whose it was. Pure, and tolerant: a journal may have lost the beginning of a session, and a
 * newer daemon may write what is not known here.
 */
import type {
  CheckSeverity,
  ErrorFields,
  InnerTime,
  MethodName,
  Outcome,
  PhaseFields,
  ProgressFields,
  RecordDraft,
  SessionFields,
} from '../records/record.ts';
import { parseRfc3339, rfc3339 } from '../records/time.ts';
import { findCheck } from './checks.ts';
import { foldIntoHistory, type History, type Usual, usualOf } from './history.ts';
import { shown } from './outcome.ts';
import { judgeStory } from './verdict.ts';

/** Bounds of the lists; what is beyond them is counted in the totals alone. */
export const MAX_STORY_ITEMS = 32;
/** Records of progress come this often, so that a shorter silence is only known to be shorter. */
export const SURE_SILENCE_US = 5_000_000;

export interface StoryPhase extends PhaseFields {
  /** What the same phase usually takes in this store. */
  readonly usual_us?: number;
}

export interface StoryError extends ErrorFields {
  readonly times: number;
}

export interface StoryCheck {
  readonly code: string;
  readonly severity: CheckSeverity;
  /** What was seen, and what to do; absent for a check of a newer daemon. */
  readonly title?: string;
  readonly mend?: string;
  /** Of the first time. */
  readonly detail: string;
  readonly times: number;
}

export interface StoryStall {
  readonly kind: 'quiet' | 'blocked' | 'gone';
  readonly method?: 'Progress' | 'Error' | 'Done';
  readonly thread?: number;
  /** RFC 3339. */
  readonly since: string;
  readonly for_us: number;
  readonly ongoing: boolean;
}

export interface Story {
  /** `unknown`: it has no end in the journal, and the daemon that wrote it has stopped. */
  readonly state: 'running' | 'stalled' | 'ended' | 'unknown';
  readonly verdict: { readonly code: string; readonly text: string };
  readonly session: SessionFields;
  readonly process?: NonNullable<RecordDraft['process']>;
  readonly shim_version?: string;
  /** `process.platform` of the daemon. */
  readonly platform?: string;
  /** RFC 3339; absent if the journal has lost it. */
  readonly opened?: string;
  readonly ended?: string;
  /** Up to when this is true. */
  readonly as_of: string;
  readonly duration_us: number;
  readonly since_last_call_us: number;
  readonly progress?: ProgressFields;
  readonly outcome?: Outcome;
  readonly outcome_reason?: string;
  readonly done?: { readonly hresult: string; readonly name: string };
  readonly returned?: NonNullable<RecordDraft['returned']>;
  readonly exit?: NonNullable<RecordDraft['exit']>;
  readonly totals: {
    readonly progress: number;
    readonly errors: number;
    readonly warnings: number;
    readonly merged: number;
    readonly lost: number;
  };
  /** Time inside Outlook's callback. `share`: of the duration, 0 to 1. */
  readonly inner: {
    readonly us: number;
    readonly max_us: number;
    readonly share: number;
    readonly failed: number;
    /** Name of its code, or its code. */
    readonly first_failure?: string;
    /** A method that took no time is left out. */
    readonly by_method: Partial<Record<MethodName, Required<InnerTime>>>;
  };
  readonly phases: readonly StoryPhase[];
  readonly slowest_phase?: StoryPhase & { readonly share: number };
  /** What a sync of this store usually takes; absent before there were some. */
  readonly usual_us?: number;
  /** The longest time without a call. `for_us` below `SURE_SILENCE_US` is the most it can have been. */
  readonly silence?: {
    readonly for_us: number;
    readonly since: string;
    readonly ongoing: boolean;
    /** Who held it up. */
    readonly by: 'provider' | 'outlook';
    readonly after?: ProgressFields;
  };
  readonly stalls: readonly StoryStall[];
  readonly first_error?: ErrorFields & {
    readonly time: string;
    /** null: it cannot be told. */
    readonly mattered: boolean | null;
    readonly why: string;
  };
  /** By code, the most frequent first. */
  readonly errors: readonly StoryError[];
  readonly checks: readonly StoryCheck[];
  readonly notes: readonly NonNullable<RecordDraft['note']>[];
}

export interface StoryOptions {
  /** Microseconds since 1970; what a running session is told up to. */
  readonly nowUs: number;
  /** The daemon that wrote these records has stopped, or is not there. */
  readonly stopped: boolean;
  readonly platform?: string;
  /** `session.ended` of earlier syncs of the same store, newest first. */
  readonly earlier?: readonly RecordDraft[];
}

/** Everything but the verdict, which is made of it. */
export type Facts = Omit<Story, 'verdict'>;

/**
 * Folds the records of one session, in the order of the journal. Records of its process and its ring
 * may stand between them.
 *
 * @throws {RangeError} if no record is about a session.
 */
export function tellStory(records: readonly RecordDraft[], options: StoryOptions): Story {
  const facts = factsOf(records, options);
  return { ...facts, verdict: judgeStory(facts) };
}

function factsOf(records: readonly RecordDraft[], options: StoryOptions): Facts {
  const own = records.filter(({ session, event_name: name }) => session && !isSnapshot(name));
  const first = own[0] ?? records.find(({ session }) => session);
  if (first?.session === undefined) throw new RangeError('No record is about a session');
  const last = own.at(-1) ?? first;
  const opened = own.find(({ event_name: name }) => name === 'session.opened');
  const end = own.findLast(({ event_name: name }) => name === 'session.ended');
  const clock = makeClock(last);
  const nowUs = end
    ? timeOf(end)
    : options.stopped
      ? timeOf(records.at(-1) ?? last)
      : Math.max(options.nowUs, timeOf(last));
  const calls = callTimes(own);
  const lastCallUs = calls.at(-1)?.atUs ?? timeOf(first);
  const seenToUs = end === undefined || isWatched(own) ? nowUs : undefined;
  const stalls = stallsOf(own, clock, seenToUs, end !== undefined || options.stopped);
  const progress = end?.progress ?? own.findLast((record) => record.progress)?.progress;
  const openedUs = opened === undefined ? timeOf(first) : timeOf(opened);
  const durationUs = end?.duration_us ?? Math.max(0, nowUs - openedUs);
  const errors = errorsOf(own);
  const done = own.find(({ event_name: name }) => name === 'session.done')?.error;
  const session = { ...first.session, ...opened?.session, ...end?.session };
  const usual = usualBefore(options.earlier ?? [], session);
  const { phases, slowest } = phasesOf(own, end, openedUs, nowUs, usual);
  const returned = own.findLast((record) => record.returned)?.returned;
  const silence = silenceOf(calls, own, stalls, seenToUs, end);
  const firstError = firstErrorOf(own, end, done);
  const exit = end?.exit ?? undefined;
  const stalled = stalls.some(({ ongoing }) => ongoing);
  return {
    state: end ? 'ended' : options.stopped ? 'unknown' : stalled ? 'stalled' : 'running',
    session,
    ...(last.process === undefined ? {} : { process: last.process }),
    ...maybe('shim_version', opened?.shim_version ?? end?.shim_version),
    ...maybe('platform', options.platform),
    ...maybe('opened', opened?.time),
    ...maybe('ended', end?.time),
    as_of: rfc3339(nowUs),
    duration_us: durationUs,
    since_last_call_us: end?.since_last_call_us ?? Math.max(0, nowUs - lastCallUs),
    ...maybe('progress', progress),
    ...maybe('outcome', end?.outcome),
    ...maybe('outcome_reason', end?.outcome_reason),
    ...(done === undefined ? {} : { done: { hresult: done.hresult, name: done.name } }),
    ...maybe('returned', returned),
    ...maybe('exit', exit),
    totals: {
      progress: end?.totals?.progress ?? progress?.calls ?? 0,
      errors: end?.totals?.errors ?? sum(errors, 'error'),
      warnings: end?.totals?.warnings ?? sum(errors, 'success'),
      merged: end?.totals?.merged ?? progress?.merged ?? 0,
      lost: (end?.totals?.lost ?? 0) + lostAround(records, own),
    },
    inner: { ...innerOf(own, durationUs), ...failuresOf(own) },
    phases,
    ...maybe('slowest_phase', slowest),
    ...maybe('usual_us', end?.usual_us ?? usual?.durationUs),
    ...maybe('silence', silence),
    stalls: stalls.slice(-MAX_STORY_ITEMS),
    ...maybe('first_error', firstError),
    errors: errors.slice(0, MAX_STORY_ITEMS),
    checks: checksOf(own).slice(0, MAX_STORY_ITEMS),
    notes: own.flatMap(({ note }) => (note ? [note] : [])).slice(0, MAX_STORY_ITEMS),
  };
}

const isSnapshot = (name: string): boolean => name.startsWith('snapshot.');
const timeOf = (record: RecordDraft): number => parseRfc3339(record.time) ?? 0;

function maybe<K extends string, V>(key: K, value: V | undefined): { [Key in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { [Key in K]?: V };
}

/**
 * Whether one daemon wrote the last records of the session, so that it saw its process end. Else only the
 * time is known at which somebody found that it had.
 */
function isWatched(own: readonly RecordDraft[]): boolean {
  const [before, end] = own.slice(-2).map((record) => {
    return (record as { service?: { instance_id?: string } }).service?.instance_id;
  });
  return before === end;
}

/** Monotonic to wall time. */
function makeClock(record: RecordDraft): (monoUs: number) => number {
  const offsetUs = record.mono_us === undefined ? 0 : timeOf(record) - record.mono_us;
  return (monoUs) => monoUs + offsetUs;
}

interface CallTime {
  readonly atUs: number;
  readonly progress?: ProgressFields;
}

/** When calls are known to have been made; the first is the attach. Wall time that never goes back. */
function callTimes(own: readonly RecordDraft[]): CallTime[] {
  const times: CallTime[] = [];
  const offset = makeClock(own[0] as RecordDraft);
  for (const record of own) {
    const { event_name: name, progress } = record;
    const isCall =
      name === 'session.opened' ||
      name === 'session.progress' ||
      name === 'session.error' ||
      name === 'session.done' ||
      name === 'frames.merged';
    if (!isCall) continue;
    const at = record.mono_us === undefined ? timeOf(record) : offset(record.mono_us);
    const atUs = at - (record.since_last_call_us ?? 0);
    if (atUs < (times.at(-1)?.atUs ?? 0)) continue;
    const shown = progress ?? times.at(-1)?.progress;
    times.push({ atUs, ...(shown === undefined ? {} : { progress: shown }) });
  }
  return times;
}

function stallsOf(
  own: readonly RecordDraft[],
  clock: (monoUs: number) => number,
  seenToUs: number | undefined,
  over: boolean,
): StoryStall[] {
  const open = new Map<string, { readonly sinceUs: number; readonly stall: StoryStall }>();
  const stalls: StoryStall[] = [];
  for (const { event_name: name, stall, mono_us: monoUs, time } of own) {
    if (stall === undefined) continue;
    const { kind, method, thread } = stall;
    const key = `${kind} ${thread ?? ''}`;
    const atUs = monoUs === undefined ? (parseRfc3339(time) ?? 0) : clock(monoUs);
    const sinceUs = open.get(key)?.sinceUs ?? Math.max(0, atUs - stall.for_us);
    const told: StoryStall = {
      kind,
      ...maybe('method', method),
      ...maybe('thread', thread),
      since: rfc3339(sinceUs),
      for_us: stall.for_us,
      ongoing: false,
    };
    if (name === 'session.stalled') open.set(key, { sinceUs, stall: told });
    else if (name === 'session.resumed') {
      open.delete(key);
      stalls.push(told);
    }
  }
  for (const { sinceUs, stall } of open.values()) {
    const lastedUs = seenToUs === undefined ? 0 : seenToUs - sinceUs;
    stalls.push({ ...stall, for_us: Math.max(stall.for_us, lastedUs), ongoing: !over });
  }
  return stalls.sort((a, b) => (a.since < b.since ? -1 : 1));
}

function silenceOf(
  calls: readonly CallTime[],
  own: readonly RecordDraft[],
  stalls: readonly StoryStall[],
  seenToUs: number | undefined,
  end: RecordDraft | undefined,
): Story['silence'] {
  const done = own.some(({ event_name: name }) => name === 'session.done');
  const isCutOff = !done && (end === undefined || end.outcome === 'abandoned');
  // Without the time inside Outlook, which is what is asked for here.
  const inside = stalls.some(({ kind }) => kind === 'blocked');
  const told = inside || isCutOff ? undefined : end?.longest_silence_us;
  const points = isCutOff && seenToUs !== undefined ? [...calls, { atUs: seenToUs }] : calls;
  let longest: { from: CallTime; forUs: number; ongoing: boolean } | undefined;
  for (let at = 1; at < points.length; at += 1) {
    const from = points[at - 1] as CallTime;
    const forUs = (points[at] as CallTime).atUs - from.atUs;
    // The daemon knows how long it was, and leaves out the time in which the machine slept.
    const isBetter =
      told === undefined
        ? forUs > (longest?.forUs ?? -1)
        : Math.abs(forUs - told) < Math.abs((longest?.forUs ?? Number.POSITIVE_INFINITY) - told);
    if (!isBetter) continue;
    longest = { from, forUs, ongoing: at === calls.length && end === undefined };
  }
  if (!longest) return undefined;
  const { from, forUs, ongoing } = longest;
  const inOutlook = stalls
    .filter(({ kind }) => kind === 'blocked')
    .map(({ since, for_us }) => {
      const begin = parseRfc3339(since) ?? 0;
      return Math.min(begin + for_us, from.atUs + forUs) - Math.max(begin, from.atUs);
    });
  return {
    for_us: told ?? forUs,
    since: rfc3339(from.atUs),
    ongoing,
    by: Math.max(0, ...inOutlook) * 2 >= forUs ? 'outlook' : 'provider',
    ...maybe('after', from.progress),
  };
}

function errorsOf(own: readonly RecordDraft[]): StoryError[] {
  const byCode = new Map<string, StoryError>();
  for (const { event_name: name, error } of own) {
    if (name !== 'session.error' || error === undefined) continue;
    const { repeat: _, ...fields } = error;
    const known = byCode.get(error.hresult);
    byCode.set(
      error.hresult,
      known ? { ...known, times: known.times + 1 } : { ...fields, times: 1 },
    );
  }
  return [...byCode.values()].sort((a, b) => b.times - a.times);
}

const sum = (errors: readonly StoryError[], severity: ErrorFields['severity']): number =>
  errors.filter((error) => error.severity === severity).reduce((all, { times }) => all + times, 0);

function firstErrorOf(
  own: readonly RecordDraft[],
  end: RecordDraft | undefined,
  done: ErrorFields | undefined,
): Story['first_error'] {
  const at = own.findIndex(
    ({ event_name: name, error }) => name === 'session.error' && error?.severity === 'error',
  );
  const record = own[at];
  if (record?.error === undefined) return undefined;
  const { repeat: _, ...error } = record.error;
  const later = own.slice(at + 1).filter(({ event_name: name }) => name === 'session.progress');
  const [mattered, why] = matters(error, later.length, end?.outcome, done);
  return { ...error, time: record.time, mattered, why };
}

function matters(
  error: ErrorFields,
  progressLater: number,
  outcome: Outcome | undefined,
  done: ErrorFields | undefined,
): readonly [boolean | null, string] {
  if (done?.hresult === error.hresult) return [true, 'the sync ended with it'];
  if (outcome === 'ok' || outcome === 'ok_with_errors' || outcome === 'warned') {
    return [false, 'the sync went on and finished; what it names may be missing'];
  }
  if (done?.severity === 'error') return [null, `the sync ended with ${done.name}`];
  if (progressLater > 0) return [false, 'the sync went on after it'];
  return [null, 'no progress came after it'];
}

function checksOf(own: readonly RecordDraft[]): Story['checks'] {
  const order = ['fault', 'note', 'info'];
  const byCode = new Map<string, Story['checks'][number]>();
  for (const { check } of own) {
    if (check === undefined) continue;
    const known = byCode.get(check.code);
    const { title, mend } = findCheck(check.code) ?? {};
    const { code, severity, detail } = check;
    const first = { code, severity, ...maybe('title', title), ...maybe('mend', mend), detail };
    byCode.set(code, known ? { ...known, times: known.times + 1 } : { ...first, times: 1 });
  }
  return [...byCode.values()].sort(
    (a, b) => order.indexOf(a.severity) - order.indexOf(b.severity) || (a.code < b.code ? -1 : 1),
  );
}

/** By the newest totals; of a session that runs, what the calls took that failed or were slow. */
function innerOf(
  own: readonly RecordDraft[],
  durationUs: number,
): Pick<Story['inner'], 'us' | 'max_us' | 'share' | 'by_method'> {
  const totals = own.findLast((record) => record.totals)?.totals;
  const share = (us: number): number => (durationUs === 0 ? 0 : Math.min(1, us / durationUs));
  const slow: Partial<Record<MethodName, { us: number; max_us: number }>> = {};
  for (const { inner } of totals === undefined ? own : []) {
    if (inner === undefined) continue;
    const { method, duration_us: took } = inner;
    const { us = 0, max_us: most = 0 } = slow[method] ?? {};
    slow[method] = { us: us + took, max_us: Math.max(most, took) };
  }
  const times = Object.entries(totals?.inner_by_method ?? slow).map(
    ([method, { us, max_us }]) => [method, { us, max_us, share: share(us) }] as const,
  );
  const us = totals?.inner_us ?? times.reduce((all, [, time]) => all + time.us, 0);
  const max_us =
    totals?.inner_max_us ?? times.reduce((most, [, time]) => Math.max(most, time.max_us), 0);
  return { us, max_us, share: share(us), by_method: Object.fromEntries(times) };
}

function failuresOf(own: readonly RecordDraft[]): Pick<Story['inner'], 'failed' | 'first_failure'> {
  const failures = own.flatMap(({ inner }) =>
    inner !== undefined && inner.hresult !== '0x00000000' ? [inner.hresult] : [],
  );
  const [first] = failures;
  if (first === undefined) return { failed: 0 };
  return { failed: failures.length, first_failure: shown(Number(first)) };
}

/** Frames that the ring lost while the session ran: any of them may have been its own. */
function lostAround(records: readonly RecordDraft[], own: readonly RecordDraft[]): number {
  const ring = own[0]?.ring;
  let lost = 0;
  for (const record of records) {
    if (record.event_name !== 'frames.lost' || record.ring !== ring) continue;
    for (const count of Object.values(record.lost?.by_kind ?? {})) lost += count;
  }
  return lost;
}

/** Of a session that has not ended, phases are told by its records of progress. */
function phasesOf(
  own: readonly RecordDraft[],
  end: RecordDraft | undefined,
  openedUs: number,
  nowUs: number,
  usual: Usual | undefined,
): { readonly phases: StoryPhase[]; readonly slowest: Story['slowest_phase'] } {
  const found = end?.phases ?? runningPhases(own, nowUs);
  const usually = new Map(usual?.phases.map(({ text, durationUs }) => [text, durationUs]));
  const took = new Map<string, number>();
  for (const { text = '', duration_us } of found) {
    took.set(text, (took.get(text) ?? 0) + duration_us);
  }
  const phases = found.map((phase): StoryPhase => {
    const { text = '', duration_us } = phase;
    const usualUs = usually.get(text);
    if (usualUs === undefined) return phase;
    // What is usual is known of a text in all: of several counts under it each gets its part.
    const part = duration_us === 0 ? 1 : duration_us / (took.get(text) ?? duration_us);
    return { ...phase, usual_us: Math.round(usualUs * part) };
  });
  const slowest = phases.reduce<StoryPhase | undefined>(
    (most, phase) => (most && most.duration_us >= phase.duration_us ? most : phase),
    undefined,
  );
  if (!slowest) return { phases, slowest: undefined };
  const wholeUs = end?.duration_us ?? nowUs - openedUs;
  const share = wholeUs <= 0 ? 0 : Math.min(1, slowest.duration_us / wholeUs);
  return { phases, slowest: { ...slowest, share } };
}

function runningPhases(own: readonly RecordDraft[], nowUs: number): PhaseFields[] {
  const phases: (PhaseFields & { sinceUs: number; firstCall: number })[] = [];
  let errors = 0;
  for (const record of own) {
    const { event_name: name, progress, error } = record;
    if (name === 'session.error' && error?.severity === 'error') errors += 1;
    if (name !== 'session.progress' || progress === undefined) continue;
    const current = phases.at(-1);
    const { text, index, max, calls } = progress;
    const atUs = timeOf(record);
    if (current && current.text === text && index >= current.index) {
      phases[phases.length - 1] = {
        ...current,
        index,
        max,
        calls: calls - current.firstCall,
        errors: current.errors + errors,
      };
    } else {
      if (current) {
        phases[phases.length - 1] = { ...current, duration_us: atUs - current.sinceUs };
      }
      phases.push({
        ...(text === undefined ? {} : { text }),
        duration_us: 0,
        calls: 1,
        errors,
        index,
        max,
        sinceUs: atUs,
        firstCall: calls - 1,
      });
    }
    errors = 0;
  }
  const last = phases.at(-1);
  if (last) phases[phases.length - 1] = { ...last, duration_us: Math.max(0, nowUs - last.sinceUs) };
  return phases
    .slice(-MAX_STORY_ITEMS)
    .map(({ sinceUs: _, firstCall: __, ...phase }): PhaseFields => phase);
}

/** By the history that a daemon keeps, as far as the journal tells it. */
function usualBefore(
  earlier: readonly RecordDraft[],
  { provider, store }: SessionFields,
): Usual | undefined {
  const history: History = new Map();
  for (const record of earlier.toReversed()) foldIntoHistory(history, record);
  return usualOf(history, { provider: provider ?? null, store: store ?? null });
}
