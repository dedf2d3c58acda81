/** `sessions --fleet`: those of all machines that export to a stream of NATS. */
import { FLEET_SUBJECTS, type FleetStream } from '../../daemon/platform/nats.ts';
import { escapeLine } from '../../protocol/records/text.ts';
import { parseRfc3339 } from '../../protocol/records/time.ts';
import { liveSession } from '../../protocol/session/live.ts';
import { foldRecord } from '../../protocol/session/snapshot.ts';
import type { SessionState } from '../../protocol/session/state.ts';
import { EXIT } from '../exit.ts';
import { hostOf, serverGone, startAt, withFleet } from '../fleet.ts';
import type { Io } from '../io.ts';
import { parseRecord } from '../journal.ts';
import { say } from '../messages.ts';
import { printable } from '../render/text.ts';
import { asListed, type ListedSession } from '../session-list.ts';
import type { Settings } from '../settings.ts';
import type { FeedRecord } from '../view.ts';
import { makeFilter, plainLines, type SessionsOptions } from './sessions.ts';

/** How far back is read if nobody says. */
const SINCE_MS = 86_400_000;
/** A session of which nothing came for so long is not called running: it reports each 5 s. */
const SILENT_MS = 60_000;
/** Ended sessions that are kept beyond the limit, so that sorting is rare. */
const SPARE = 1000;

export function fleetSessions(
  options: Omit<SessionsOptions, 'journal'>,
  settings: Settings,
  io: Io,
): Promise<number> {
  const isWanted = makeFilter(options);
  return withFleet('list the sessions of a fleet', settings, io, async (fleet) => {
    const found = new FleetSessions(options.limit, isWanted);
    const sinceMs = options.sinceMs ?? Date.now() - SINCE_MS;
    for await (const record of recordsSince(fleet, sinceMs)) found.take(record);
    const listed = found.list(Date.now());
    const text = listed.map((one) => `${lineOf(one, settings)}\n`).join('');
    if (text !== '') await io.stdout.write(text);
    else if (settings.verbosity >= 0) say(io, `No such session in the stream ${fleet.stream}`);
    return EXIT.done;
  });
}

/** What the stream has when it is asked, and no more. */
async function* recordsSince(fleet: FleetStream, sinceMs: number): AsyncGenerator<FeedRecord> {
  const { name, num_pending: count } = await fleet.jsm.consumers.add(fleet.stream, {
    ack_policy: fleet.packages.AckPolicy.None,
    filter_subject: FLEET_SUBJECTS,
    ...startAt(fleet, sinceMs),
  });
  if (count === 0) return;
  const consumer = await fleet.js.consumers.get(fleet.stream, name);
  let left = count;
  for await (const message of await consumer.consume()) {
    const record = parseRecord(message.string());
    if (record?.session) yield record;
    left -= 1;
    // Fewer are left where the stream's limits deleted some meanwhile.
    if (left === 0 || message.info.pending === 0) return;
  }
  throw serverGone('list the sessions of the fleet');
}

interface FleetSession extends ListedSession {
  readonly host: string;
}

/** Folds what comes. Holds what runs, and of what ended as much as is to be listed. */
class FleetSessions {
  readonly #limit: number;
  readonly #isWanted: (session: ListedSession) => boolean;
  readonly #running = new Map<string, { state: SessionState; lastUs: number; host: string }>();
  #ended: FleetSession[] = [];

  constructor(limit: number, isWanted: (session: ListedSession) => boolean) {
    this.#limit = limit;
    this.#isWanted = isWanted;
  }

  take(record: FeedRecord): void {
    const host = hostOf(record);
    const key = `${host} ${record.session!.id}`;
    if (record.event_name === 'session.ended') {
      this.#running.delete(key);
      const session = asListed(record);
      if (session && this.#isWanted(session)) this.#ended.push({ ...session, host });
      if (this.#ended.length >= this.#limit + SPARE) this.#ended = this.#newest(this.#ended);
      return;
    }
    const state = foldRecord(this.#running.get(key)?.state, record);
    if (state === undefined || state.ended !== null) this.#running.delete(key);
    else this.#running.set(key, { state, host, lastUs: parseRfc3339(record.time) ?? 0 });
  }

  list(nowMs: number): FleetSession[] {
    const running = [...this.#running.values()].map(({ state, host, lastUs }): FleetSession => {
      const ranUs = Math.max(0, lastUs - state.openWallUs);
      const live = liveSession(state, state.openTimeUs + ranUs);
      const isSilent = live.state === 'running' && nowMs - lastUs / 1000 > SILENT_MS;
      return { live, host, state: isSilent ? 'unknown' : live.state };
    });
    return this.#newest([...running.filter(this.#isWanted), ...this.#ended]);
  }

  #newest(sessions: readonly FleetSession[]): FleetSession[] {
    const sorted = [...sessions].sort((a, b) => (a.live.opened < b.live.opened ? 1 : -1));
    return sorted.slice(0, this.#limit);
  }
}

function lineOf(session: FleetSession, settings: Settings): string {
  const { host, live, state, end } = session;
  if (settings.output === 'json') {
    const ended = end ? { ended: end.time } : {};
    return escapeLine(JSON.stringify({ host, ...live, state, ...ended }));
  }
  return `${printable(host, settings.theme.unicode)} ${plainLines([session], settings)[0]}`;
}
