/** Finds the session that somebody means among those that run and those of the journal. */
import { statePaths } from '../daemon/platform/paths.ts';
import type { LiveSession } from '../protocol/records/record.ts';
import { WANT } from '../protocol/wire/clients.ts';
import { Connection, type Place } from './connection.ts';
import { newestRecords } from './journal.ts';
import { type Candidate, resolveSession } from './selection.ts';
import type { FeedRecord } from './view.ts';

/** Ended sessions among which it is looked for. */
const HISTORY = 1000;

export interface Found {
  readonly id: string;
  /** Its last record, if it has ended. */
  readonly ended?: FeedRecord;
}

/** @throws {CliError} exit 2 if the text means none, or several. */
export async function findSession(text: string, place: Place): Promise<Found> {
  const live = await liveSessions(place);
  const { journal } = statePaths(place.stateDir, place.env as NodeJS.ProcessEnv);
  const ends = newestRecords(journal, 'session.ended', HISTORY);
  const candidates: Candidate[] = [
    ...live,
    ...ends.flatMap(({ session, time, duration_us = 0 }) => {
      const opened = new Date(Date.parse(time) - duration_us / 1000).toISOString();
      return session ? [{ ...session, opened }] : [];
    }),
  ];
  const id = resolveSession(text, candidates);
  const ended = ends.find(({ session }) => session?.id === id);
  return ended ? { id, ended } : { id };
}

async function liveSessions(place: Place): Promise<LiveSession[]> {
  const connection = await Connection.open(place);
  try {
    connection.send({ kind: 'subscribe', wants: WANT.sessions, after: null });
    const sessions: LiveSession[] = [];
    for (;;) {
      const frame = await connection.next();
      if (frame?.kind === 'session') sessions.push(frame.session);
      else if (frame === undefined || frame.kind === 'current') return sessions;
    }
  } finally {
    connection.close();
  }
}
