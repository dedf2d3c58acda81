/** The daemon's feed as one stream that outlives daemons: it comes back after a restart, and goes on. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { LiveSession } from '../protocol/records/record.ts';
import { type DaemonFacts, WANT } from '../protocol/wire/clients.ts';
import { Connection, type Place } from './connection.ts';
import { CliError, EXIT } from './exit.ts';

export type FeedEvent =
  | { readonly type: 'connected'; readonly daemon: DaemonFacts; readonly again: boolean }
  | { readonly type: 'session'; readonly session: LiveSession }
  | { readonly type: 'current' }
  | { readonly type: 'record'; readonly cursor: string; readonly line: string }
  /** The daemon is gone, or cut us; the stream tries again. */
  | { readonly type: 'lost'; readonly why: string };

export interface FollowOptions extends Place {
  /** Cursor after which records are wanted; undefined: from now on. */
  readonly after: string | undefined;
  /** How long to wait for a daemon that went away; undefined: for ever. */
  readonly patienceMs?: number;
}

const RETRY_FIRST_MS = 100;
const RETRY_MOST_MS = 2000;

/**
 * Snapshot first, then changes. After a loss the same again, with records from where it stopped.
 *
 * @throws what `Connection.open()` throws for the first connection; exit 3 when patience is over;
 * what can't mend itself (another user, another version) at once.
 */
export async function* follow(options: FollowOptions): AsyncGenerator<FeedEvent> {
  let { after } = options;
  let connection = await Connection.open(options);
  for (let again = false; ; again = true) {
    try {
      yield { type: 'connected', daemon: connection.daemon, again };
      connection.send({
        kind: 'subscribe',
        wants: WANT.records | WANT.sessions,
        after: after ?? null,
      });
      let why = 'it is gone';
      for (;;) {
        const frame = await connection.next();
        if (frame === undefined || options.signal?.aborted) break;
        if (frame.kind === 'bye') why = 'it was stopped';
        if (frame.kind === 'cut') why = `${frame.reason}, ${frame.dropped} left out`;
        if (frame.kind === 'session') yield { type: 'session', session: frame.session };
        if (frame.kind === 'current') yield { type: 'current' };
        if (frame.kind === 'record') {
          after = frame.cursor;
          yield { type: 'record', cursor: frame.cursor, line: frame.line };
        }
      }
      if (options.signal?.aborted) return;
      yield { type: 'lost', why };
    } finally {
      connection.close();
    }
    const found = await reconnect(options);
    if (!found) return;
    connection = found;
  }
}

/** undefined if the signal came first. */
async function reconnect(options: FollowOptions): Promise<Connection | undefined> {
  const { signal, patienceMs = Number.POSITIVE_INFINITY } = options;
  const until = performance.now() + patienceMs;
  for (let waitMs = RETRY_FIRST_MS; ; waitMs = Math.min(RETRY_MOST_MS, waitMs * 2)) {
    try {
      await sleep(waitMs, undefined, signal ? { signal } : {});
      return await Connection.open(options);
    } catch (error) {
      if (signal?.aborted) return undefined;
      const code = (error as { exitCode?: number }).exitCode;
      if (code === EXIT.permission || code === EXIT.version || code === undefined) throw error;
      if (performance.now() > until) {
        const text = `Cannot follow: the daemon went away and did not come back within ${patienceMs} ms`;
        throw new CliError(EXIT.noDaemon, text, 'Start one with: mapisync daemon start', error);
      }
    }
  }
}
