/** What `tail` knows of the sessions that it watches: a fold over the feed. No I/O, no clock. */
import type { ErrorFields, LiveSession, RecordDraft } from '../protocol/records/record.ts';
import type { DaemonFacts } from '../protocol/wire/clients.ts';

/** A code that came once or more in a session. */
export interface ErrorTally {
  readonly error: ErrorFields;
  readonly times: number;
}

/** How many different codes of a session are told apart; later ones are counted as others. */
const MAX_TALLIES = 16;

export interface Watched {
  readonly live: LiveSession;
  /** When `live` arrived, in milliseconds of the caller's clock. */
  readonly atMs: number;
  readonly errors: ReadonlyMap<string, ErrorTally>;
  readonly otherErrors: number;
}

/** A journal record as a client reads it. */
export type FeedRecord = RecordDraft;

function tally(session: Watched, error: ErrorFields): Watched {
  const known = session.errors.get(error.hresult);
  if (!known && session.errors.size >= MAX_TALLIES) {
    return { ...session, otherErrors: session.otherErrors + 1 };
  }
  const errors = new Map(session.errors);
  // The newest goes last.
  errors.delete(error.hresult);
  errors.set(error.hresult, { error, times: (known?.times ?? 0) + 1 });
  return { ...session, errors };
}

/** What a session looked like when it ended, from its last live state and its record. */
export function ended(live: LiveSession, record: FeedRecord): LiveSession {
  const { outcome, outcome_reason, duration_us, totals } = record;
  return {
    ...live,
    state: 'ended',
    progress: record.progress ?? { ...live.progress, calls: totals?.progress ?? 0 },
    ...(outcome === undefined ? {} : { outcome }),
    ...(outcome_reason === undefined ? {} : { outcome_reason }),
    duration_us: duration_us ?? live.duration_us,
    errors: totals?.errors ?? live.errors,
    warnings: totals?.warnings ?? live.warnings,
  };
}

/** The state of a session of which only a record is known yet. */
export function seed(record: FeedRecord): LiveSession | undefined {
  const { session, process } = record;
  if (!session) return undefined;
  const { id, attach, provider, store } = session;
  return {
    id,
    attach,
    ...(provider === undefined ? {} : { provider }),
    ...(store === undefined ? {} : { store }),
    state: 'running',
    pid: process?.pid ?? 0,
    executable: process?.executable?.name ?? '',
    opened: record.time,
    duration_us: record.duration_us ?? 0,
    since_last_call_us: 0,
    progress: { index: 0, max: 0, percent: null, calls: 0 },
    errors: 0,
    warnings: 0,
  };
}

/** A session that is seen for the first time: of its errors the last is all there is to know. */
export function glance(live: LiveSession, atMs: number): Watched {
  const { last_error: error } = live;
  if (!error) return { live, atMs, errors: new Map(), otherErrors: 0 };
  const times = error.repeat ?? 1;
  const otherErrors = Math.max(0, live.errors + live.warnings - times);
  return { live, atMs, errors: new Map([[error.hresult, { error, times }]]), otherErrors };
}

export class View {
  readonly #replays: boolean;
  readonly #sessions = new Map<string, Watched>();
  /** Of the snapshot that is under way after a reconnect: who has not been confirmed yet. */
  readonly #doubtful = new Set<string>();
  #daemon: DaemonFacts | undefined;
  #isCurrent = false;
  #isLost = false;
  /** Outcomes of the sessions that ended while they were watched, by count. */
  readonly outcomes = new Map<string, number>();

  /** @param replays Old records come again: they bring the errors that a snapshot only counts. */
  constructor({ replays }: { readonly replays: boolean }) {
    this.#replays = replays;
  }

  /** Sessions that have not ended, in the order in which they were first seen. */
  get sessions(): ReadonlyMap<string, Watched> {
    return this.#sessions;
  }

  get daemon(): DaemonFacts | undefined {
    return this.#daemon;
  }

  /** The snapshot is complete. */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  connected(daemon: DaemonFacts): void {
    this.#daemon = daemon;
    this.#isLost = false;
    for (const id of this.#sessions.keys()) this.#doubtful.add(id);
  }

  current(): void {
    this.#isCurrent = true;
    // What neither the snapshot nor the records in between knew is not there any more.
    for (const id of this.#doubtful) this.#sessions.delete(id);
    this.#doubtful.clear();
  }

  lost(): void {
    this.#isCurrent = false;
    this.#isLost = true;
  }

  get stalledCount(): number {
    return [...this.#sessions.values()].filter(({ live }) => live.state === 'stalled').length;
  }

  get endedCount(): number {
    return [...this.outcomes.values()].reduce((sum, n) => sum + n, 0);
  }

  /** A live state: of the snapshot, or a change. Ends are taken from records, which are never merged. */
  live(live: LiveSession, nowMs: number): void {
    if (live.state === 'ended') return;
    const known = this.#sessions.get(live.id);
    this.#doubtful.delete(live.id);
    const next: Watched = known
      ? { ...known, live, atMs: nowMs }
      : this.#replays
        ? { live, atMs: nowMs, errors: new Map(), otherErrors: 0 }
        : glance(live, nowMs);
    this.#sessions.set(live.id, next);
  }

  /**
   * A record.
   *
   * @returns The session if it ended with this one.
   */
  record(record: FeedRecord, nowMs: number): Watched | undefined {
    const id = record.session?.id;
    if (id === undefined || record.event_name === 'snapshot.session') return undefined;
    let session = this.#sessions.get(id);
    if (!session) {
      const live = seed(record);
      if (!live) return undefined;
      session = { live, atMs: nowMs, errors: new Map(), otherErrors: 0 };
    }
    if (record.event_name === 'session.error' && record.error) {
      session = tally(session, record.error);
    }
    if (record.event_name === 'session.ended') {
      this.#sessions.delete(id);
      const outcome = record.outcome ?? 'failed';
      this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
      return { ...session, live: ended(session.live, record) };
    }
    this.#sessions.set(id, session);
    return undefined;
  }
}
