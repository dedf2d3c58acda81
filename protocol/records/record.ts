/**
 * The structured log, `mapisync.log/1`: what one line of the journal says. Field rules, levels and
 * privacy are in `docs/records.md`; `schema.json` beside this file holds every line to them.
 */

export type Level = 'debug' | 'info' | 'warn' | 'error';

export const SEVERITY_NUMBER = { debug: 5, info: 9, warn: 13, error: 17 } as const;

export type EventName =
  | 'session.opened'
  | 'session.progress'
  | 'session.error'
  | 'session.check'
  | 'session.stalled'
  | 'session.resumed'
  | 'session.inner_slow'
  | 'session.note'
  | 'session.done'
  | 'session.returned'
  | 'session.ended'
  | 'session.released'
  | 'frames.merged'
  | 'frames.lost'
  | 'process.connected'
  | 'process.gone'
  | 'peer.refused'
  | 'frame.rejected'
  | 'daemon.started'
  | 'daemon.stopping'
  | 'daemon.recovered'
  | 'journal.failed'
  | 'journal.trimmed'
  | 'export.failed'
  | 'export.caught_up'
  | 'snapshot.begin'
  | 'snapshot.session'
  | 'snapshot.ring'
  | 'snapshot.store'
  | 'snapshot.end';

export type Outcome = 'ok' | 'ok_with_errors' | 'warned' | 'failed' | 'cancelled' | 'abandoned';

export type CheckSeverity = 'fault' | 'note' | 'info';

export type ErrorClass = 'transient' | 'auth' | 'quota' | 'not_found' | 'cancelled' | 'other';

/** Why an exporter cannot go on, for machines. */
export type ExportCause =
  | 'unreachable'
  | 'timeout'
  | 'refused'
  | 'tls'
  | 'denied'
  | 'full'
  | 'missing'
  | 'failed';

export interface SessionFields {
  readonly id: string;
  readonly provider?: string;
  readonly store?: string;
  readonly attach: 'tee' | 'wrap' | 'sink';
  readonly flags?: readonly string[];
  readonly flags_raw?: string;
  readonly user_initiated?: boolean;
}

export interface ProgressFields {
  readonly text?: string;
  readonly index: number;
  readonly max: number;
  /** null if max is 0. 0 to 100, one decimal. */
  readonly percent: number | null;
  /** In units of index a second; absent when unknown. */
  readonly rate_per_s?: number;
  readonly eta_s?: number;
  /** Calls of Progress so far. */
  readonly calls: number;
  readonly merged?: number;
}

/** All but `text` and `repeat` follow from the code. */
export interface ErrorFields {
  /** `0x8004010F`. */
  readonly hresult: string;
  /** `MAPI_E_NOT_FOUND`; for an unknown value what rules make of it. A guess ends in `?`. */
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly severity: 'success' | 'error';
  readonly class: ErrorClass;
  readonly text?: string;
  /** How often this code with this text came in the session so far, from 1. */
  readonly repeat?: number;
}

export interface PhaseFields {
  readonly text?: string;
  readonly duration_us: number;
  readonly calls: number;
  readonly errors: number;
  readonly index: number;
  readonly max: number;
}

export type MethodName = 'Progress' | 'Error' | 'Done';

/** Time in a method of Outlook's callback. `share`: of the session's duration. */
export interface InnerTime {
  readonly us: number;
  readonly max_us: number;
  readonly share?: number;
}

export interface InnerSlow {
  readonly calls: number;
  readonly us: number;
  readonly max_us: number;
}

/** One record but for what the journal adds to each (`v`, `service`, `host`, `severity_number`). */
export interface RecordDraft {
  readonly event_name: EventName;
  readonly level: Level;
  /** RFC 3339 UTC with microseconds. */
  readonly time: string;
  readonly observed_time?: string;
  /** Absent until the journal numbers it, for records that no frame caused. */
  readonly event_id?: string;
  readonly group?: { readonly n: number; readonly of: number };
  readonly msg: string;
  readonly trace_id?: string;
  readonly span_id?: string;
  readonly trace_flags?: 1;
  readonly process?: {
    readonly pid: number;
    readonly arch?: 'x86' | 'x64';
    readonly executable?: { readonly name: string };
  };
  readonly thread?: { readonly id: number };
  /** 32 hex digits. */
  readonly ring?: string;
  readonly shim_version?: string;
  readonly seq?: number;
  /**
   * The moment of `time` on the machine's monotonic clock, microseconds. What durations are made of:
   * differences hold whatever happened to the wall clock, within one boot of the machine.
   */
  readonly mono_us?: number;
  /** Which call of its method this was in the session, from 1. */
  readonly call?: number;
  readonly session?: SessionFields;
  readonly progress?: ProgressFields;
  readonly error?: ErrorFields;
  readonly inner?: {
    readonly method: 'Progress' | 'Error' | 'Done';
    readonly hresult: string;
    readonly duration_us: number;
  };
  readonly stall?: {
    readonly kind: 'quiet' | 'blocked' | 'gone';
    readonly method?: 'Progress' | 'Error' | 'Done';
    readonly thread?: number;
    readonly for_us: number;
    readonly threshold_us?: number;
  };
  readonly exit?: {
    readonly code?: number;
    readonly crashed?: boolean;
    /** Threads that were inside Outlook's callback when the process ended. */
    readonly in_callback?: readonly {
      readonly method: 'Progress' | 'Error' | 'Done';
      readonly thread: number;
    }[];
  };
  readonly check?: {
    /** `MS001`: a row of `protocol/session/checks.ts`. */
    readonly code: string;
    readonly severity: CheckSeverity;
    readonly detail: string;
  };
  /** `Done`'s event handle, beside what `*phSyncDoneEvent` holds. The result is in `error`. */
  readonly done?: { readonly handle: 'null' | 'unknown' | 'same' | 'different' };
  /** `SynchronizeInBackground` came back; how long it took is in `duration_us`. */
  readonly returned?: {
    readonly hresult: string;
    readonly name: string;
    /** `*phSyncDoneEvent` was set. */
    readonly event: boolean;
  };
  readonly note?: { readonly key: string; readonly value: string };
  readonly outcome?: Outcome;
  readonly outcome_reason?: string;
  readonly duration_us?: number;
  readonly since_last_call_us?: number;
  /** `session.ended`: no call for so long, at most; time in which the machine slept is not counted. */
  readonly longest_silence_us?: number;
  /** `session.ended`: what a sync of this store usually takes; absent before there were some. */
  readonly usual_us?: number;
  /** `session.ended` came 5 s after `Done`, and the callback was not released yet. */
  readonly unreleased?: true;
  readonly totals?: {
    readonly progress: number;
    readonly errors: number;
    readonly warnings: number;
    readonly merged: number;
    readonly lost: number;
    /** How many different checks fired. */
    readonly checks: number;
    readonly inner_us: number;
    readonly inner_max_us: number;
    /** Time in Outlook's callback by the session's duration; above 1 with several threads. */
    readonly inner_share?: number;
    /** Of all calls; a method that took no time is left out. */
    readonly inner_by_method?: Partial<Record<MethodName, InnerTime>>;
    /** Calls that failed in there or were slow, by method. */
    readonly inner_slow?: Partial<Record<MethodName, InnerSlow>>;
  };
  readonly phases?: readonly PhaseFields[];
  readonly lost?: { readonly by_kind: Record<string, number>; readonly reason: string };
  readonly refusal?: { readonly reason: string; readonly count: number };
  readonly recovered?: { readonly rings: number; readonly frames: number; readonly torn: number };
  readonly trimmed?: {
    readonly segments: number;
    readonly bytes: number;
    readonly reader?: string;
  };
  readonly export?: {
    readonly name: string;
    /** Of `export.failed`. */
    readonly cause?: ExportCause;
    /** Of the journal, behind what was acknowledged. */
    readonly backlog_bytes: number;
  };
  /** What the daemon says of itself: platform facts, limits met. Flat, no text from the host. */
  readonly detail?: Record<string, string | number | boolean>;
  /** `snapshot.session`, `snapshot.ring`: what a restart needs to go on. Private to the daemon. */
  readonly state?: unknown;
  readonly truncated?: true;
}

/** Live state of one session, as clients see it. */
export interface LiveSession {
  readonly id: string;
  readonly provider?: string;
  readonly store?: string;
  readonly attach: 'tee' | 'wrap' | 'sink';
  readonly state: 'running' | 'stalled' | 'ended';
  readonly pid: number;
  readonly executable: string;
  /** RFC 3339. */
  readonly opened: string;
  readonly duration_us: number;
  readonly since_last_call_us: number;
  readonly progress: ProgressFields;
  readonly errors: number;
  readonly warnings: number;
  /** Codes of the checks that fired. */
  readonly checks?: readonly string[];
  /** What a sync of this store usually takes; absent before there were some. */
  readonly usual_us?: number;
  readonly last_error?: ErrorFields;
  readonly stall?: NonNullable<RecordDraft['stall']>;
  /** `Done` was called. */
  readonly done?: { readonly hresult: string; readonly name: string };
  readonly outcome?: Outcome;
  readonly outcome_reason?: string;
}
