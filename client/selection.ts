/** Which sessions and records a command is about. Pure. */
import { CliError, EXIT } from './exit.ts';
import { makeGlob } from './values.ts';
import type { FeedRecord } from './view.ts';

/** What is known of a session wherever it is met. */
export interface SessionLabel {
  readonly id: string;
  readonly provider?: string;
  readonly store?: string;
}

export interface Selection {
  /** Records that are about no session too, whatever their level. */
  readonly all: boolean;
  readonly id?: string;
  readonly provider?: string;
  readonly store?: string;
}

export interface Selector {
  readonly session: (session: SessionLabel) => boolean;
  readonly record: (record: FeedRecord) => boolean;
}

export function makeSelector(selection: Selection): Selector {
  const { all, id } = selection;
  const provider = selection.provider === undefined ? undefined : makeGlob(selection.provider);
  const store = selection.store === undefined ? undefined : makeGlob(selection.store);
  const narrowed = id !== undefined || provider !== undefined || store !== undefined;
  const session = (label: SessionLabel): boolean =>
    (id === undefined || label.id === id) &&
    (provider === undefined || provider(label.provider ?? '')) &&
    (store === undefined || store(label.store ?? ''));
  return {
    session,
    record: (record) => {
      if (record.event_name.startsWith('snapshot.')) return all && !narrowed;
      if (record.session) return session(record.session);
      if (all) return !narrowed;
      return !narrowed && (record.level === 'warn' || record.level === 'error');
    },
  };
}

export interface Candidate extends SessionLabel {
  /** RFC 3339. */
  readonly opened: string;
}

/**
 * The session that `^0` (newest), `^1` ..., an id or a unique prefix of one means.
 *
 * @throws {CliError} exit 2 if it means none, or several.
 */
export function resolveSession(text: string, sessions: readonly Candidate[]): string {
  const distinct = new Map(sessions.map((session) => [session.id, session]));
  const newestFirst = [...distinct.values()].sort((a, b) => (a.opened < b.opened ? 1 : -1));
  const back = /^\^(\d{1,4})$/.exec(text);
  if (back) {
    const found = newestFirst[Number(back[1])];
    if (found) return found.id;
    throw new CliError(
      EXIT.usage,
      `Cannot find session ${text}: expected at most ^${newestFirst.length - 1}, got ${text}`.replace(
        'at most ^-1',
        'one that was recorded',
      ),
      'See what there is: mapisync sessions',
    );
  }
  if (!/^[0-9a-f]{1,16}$/i.test(text)) {
    throw new CliError(
      EXIT.usage,
      `Cannot find session "${text}": expected an id, a prefix of one, or ^0 for the newest`,
    );
  }
  const matches = newestFirst.filter(({ id }) => id.startsWith(text.toLowerCase()));
  if (matches.length === 1) return matches[0]!.id;
  if (matches.length === 0) {
    throw new CliError(
      EXIT.usage,
      `Cannot find session "${text}": none of the ${distinct.size} known begins with it`,
      'See what there is: mapisync sessions',
    );
  }
  const some = matches.slice(0, 3).map(({ id }) => id);
  throw new CliError(
    EXIT.usage,
    `Cannot tell which session "${text}" means: ${matches.length} begin with it, such as ${some.join(', ')}`,
  );
}

/** What the ends of several sessions make of the exit code: the first that applies. */
export function exitCodeOf(outcomes: Iterable<string>): number {
  const found = new Set(
    [...outcomes].map((outcome) => OUTCOME_CODE.get(outcome) ?? EXIT.syncFailed),
  );
  const order = [EXIT.syncFailed, EXIT.syncStalled, EXIT.syncCancelled, EXIT.syncWithErrors];
  return order.find((code) => found.has(code)) ?? EXIT.done;
}

/** No end of another session can change the exit code: whoever only waits for it need not wait. */
export const isDecided = (outcomes: Iterable<string>): boolean =>
  exitCodeOf(outcomes) === EXIT.syncFailed;

const OUTCOME_CODE: ReadonlyMap<string, number> = new Map<string, number>([
  ['ok', EXIT.done],
  ['ok_with_errors', EXIT.syncWithErrors],
  ['warned', EXIT.syncWithErrors],
  ['failed', EXIT.syncFailed],
  ['abandoned', EXIT.syncStalled],
  ['cancelled', EXIT.syncCancelled],
]);

/** How a session can end. */
export const OUTCOMES: readonly string[] = [...OUTCOME_CODE.keys()];
