/** All sessions of a journal, newest first, as far back as is wanted. Asks no daemon. */
import type { LiveSession } from '../protocol/records/record.ts';
import { parseRfc3339 } from '../protocol/records/time.ts';
import { liveSession } from '../protocol/session/live.ts';
import { foldRecord } from '../protocol/session/snapshot.ts';
import type { SessionState } from '../protocol/session/state.ts';
import type { History } from './history.ts';
import { journalLines, parseRecord, segments } from './journal.ts';
import { ended, type FeedRecord, seed } from './view.ts';

export interface ListedSession {
  readonly live: LiveSession;
  /** `unknown`: it has no end in the journal, and no daemon writes there any more. */
  readonly state: LiveSession['state'] | 'unknown';
  /** Its `session.ended`. */
  readonly end?: FeedRecord;
}

export interface ListOptions {
  readonly limit: number;
  /** Only those that ran then or later. */
  readonly sinceMs?: number;
  readonly isWanted: (session: ListedSession) => boolean;
}

/** By when they were opened, as `^0`, `^1` ... count them. */
export function listSessions(history: History, options: ListOptions): ListedSession[] {
  const { limit, sinceMs = Number.NEGATIVE_INFINITY, isWanted } = options;
  const found = new Map<string, ListedSession>();
  const take = (session: ListedSession): void => {
    const { id } = session.live;
    if (!found.has(id) && isWanted(session)) found.set(id, session);
  };
  for (const session of unended(history)) take(session);
  for (const segment of segments(history.dir)) {
    let headMs: number | undefined;
    for (const { line } of journalLines(history.dir, segment)) {
      if (headMs !== undefined && !line.includes('"session.ended"')) continue;
      const record = parseRecord(line);
      headMs ??= Date.parse(record?.time ?? '');
      if (record?.event_name !== 'session.ended' || Date.parse(record.time) < sinceMs) continue;
      const session = asListed(record);
      if (session) take(session);
    }
    // What ended before this segment was opened before it too.
    const settled = [...found.values()].filter(
      ({ live }) => Date.parse(live.opened) >= (headMs ?? Number.POSITIVE_INFINITY),
    );
    if (settled.length >= limit || (headMs ?? 0) < sinceMs) break;
  }
  return [...found.values()]
    .sort((a, b) => (a.live.opened < b.live.opened ? 1 : -1))
    .slice(0, limit);
}

/** A session of which its `session.ended` is all there is. */
export function asListed(record: FeedRecord): ListedSession | undefined {
  const known = seed(record);
  if (!known) return undefined;
  const openedMs = Date.parse(record.time) - (record.duration_us ?? 0) / 1000;
  const live = {
    ...ended(known, record),
    opened: new Date(openedMs).toISOString(),
    since_last_call_us: record.since_last_call_us ?? 0,
  };
  return { live, state: 'ended', end: record };
}

/** A segment begins with the state of all that run; the newest may not have got that far. */
const FOLDED_SEGMENTS = 2;

/** Folds the end of the journal as a daemon does that goes on from it. */
function unended({ dir, stopped }: History): ListedSession[] {
  const states = new Map<string, SessionState>();
  const lastUs = new Map<string, number>();
  for (const segment of segments(dir).slice(0, FOLDED_SEGMENTS).reverse()) {
    for (const { line } of journalLines(dir, segment)) {
      if (!line.includes('"session":')) continue;
      const record = parseRecord(line);
      const id = record?.session?.id;
      if (record === undefined || id === undefined) continue;
      const state = foldRecord(states.get(id), record);
      if (state === undefined || state.ended !== null) states.delete(id);
      else states.set(id, state);
      lastUs.set(id, parseRfc3339(record.time) ?? 0);
    }
  }
  return [...states].map(([id, state]): ListedSession => {
    const untilUs = stopped ? lastUs.get(id)! : Date.now() * 1000;
    const live = liveSession(state, state.openTimeUs + Math.max(0, untilUs - state.openWallUs));
    return { live, state: stopped ? 'unknown' : live.state };
  });
}
