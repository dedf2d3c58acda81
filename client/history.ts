/** Sessions as the journal tells them, running ones too. Asks no daemon. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readEndpoint } from '../daemon/platform/endpoint.ts';
import { statePaths } from '../daemon/platform/paths.ts';
import type { RecordDraft } from '../protocol/records/record.ts';
import { MAX_SYNCS } from '../protocol/session/history.ts';
import type { Story } from '../protocol/session/story.ts';
import { type StoryOptions, tellStory } from '../protocol/session/story.ts';
import { openBundle } from './bundle.ts';
import { CliError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { journalLines, parseRecord, segments } from './journal.ts';
import { type Candidate, resolveSession } from './selection.ts';
import type { Settings } from './settings.ts';

export interface History {
  readonly dir: string;
  /** Whether somebody may still write it. */
  readonly stopped: boolean;
}

/**
 * The journal of the state directory, or one that was brought here.
 *
 * @param given A journal's directory, a state directory with one in it, or a bundle of the doctor.
 * @throws {CliError} exit 2 if there is no journal in `given`.
 */
export function findHistory(given: string | undefined, settings: Settings, io: Io): History {
  if (given === undefined) {
    const { journal, endpoint } = statePaths(settings.stateDir, io.env as NodeJS.ProcessEnv);
    return { dir: journal, stopped: !daemonLives(endpoint) };
  }
  if (statSync(given, { throwIfNoEntry: false })?.isFile()) {
    return { dir: openBundle(given), stopped: true };
  }
  const inner = join(given, 'journal');
  const dir = existsSync(inner) ? inner : given;
  if (segments(dir).length > 0) return { dir, stopped: true };
  throw new CliError(
    EXIT.usage,
    `Cannot read --journal: expected a directory with mapisync.*.jsonl, or a bundle, got "${given}"`,
  );
}

function daemonLives(endpoint: string): boolean {
  try {
    process.kill(readEndpoint(endpoint).pid, 0);
    return true;
  } catch (error) {
    // One of another user is refused later, by the journal itself.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

const BEGINS = ['"session.opened"', '"session.ended"', '"snapshot.session"'];

/** @throws {CliError} exit 2 if the text means no session, or several. */
export function findInHistory({ dir }: History, text: string): string {
  const found = new Map<string, Candidate>();
  for (const segment of segments(dir)) {
    for (const { line } of journalLines(dir, segment)) {
      if (!BEGINS.some((mark) => line.includes(mark))) continue;
      const record = parseRecord(line);
      if (!record?.session || (found.has(record.session.id) && !isOpened(record))) continue;
      const sinceUs = isOpened(record) ? 0 : (record.duration_us ?? 0);
      const opened = new Date(Date.parse(record.time) - sinceUs / 1000).toISOString();
      found.set(record.session.id, {
        id: record.session.id,
        opened: isOpened(record) ? record.time : opened,
      });
    }
  }
  return resolveSession(text, [...found.values()]);
}

const isOpened = ({ event_name: name }: RecordDraft): boolean => name === 'session.opened';

/** Of a session's records only. */
export interface SessionHistory {
  /** In the order of the journal, with those of its ring's losses between them. */
  readonly records: RecordDraft[];
  /** How earlier syncs of the same store ended, newest first. */
  readonly earlier: RecordDraft[];
  /** `process.platform` of the daemon. */
  readonly platform: string | undefined;
}

export function sessionHistory({ dir }: History, id: string): SessionHistory {
  const mark = `"id":"${id}"`;
  let records: RecordDraft[] = [];
  const earlier: RecordDraft[] = [];
  let platform: string | undefined;
  let whole = false;
  for (const segment of segments(dir)) {
    const own: RecordDraft[] = [];
    const ends: RecordDraft[] = [];
    let started: string | undefined;
    for (const { line } of journalLines(dir, segment)) {
      const isOwn = !whole && line.includes(mark);
      const isEnd = !isOwn && line.includes('"session.ended"');
      const isLoss = !whole && line.includes('"frames.lost"');
      if (!isOwn && !isEnd && !isLoss && !line.includes('"daemon.started"')) continue;
      const record = parseRecord(line);
      if (record === undefined) continue;
      const { event_name: name, detail } = record;
      if (name === 'daemon.started') {
        if (typeof detail?.platform === 'string') started = detail.platform;
      } else if (record.session?.id === id) own.push(record);
      else if (name === 'session.ended') ends.push(record);
      else if (name === 'frames.lost') own.push(record);
    }
    records = [...own, ...records];
    const opened = records.findIndex((record) => isOpened(record) && record.session?.id === id);
    if (opened >= 0 && !whole) {
      whole = true;
      records = records.slice(opened);
    }
    platform ??= started;
    earlier.push(...ends.reverse());
    if (whole && platform !== undefined && earlier.length >= MAX_EARLIER) break;
  }
  const [first] = records.filter(({ session }) => session);
  return { records, platform, earlier: first ? sameStore(first, earlier) : [] };
}

/** Ends that are looked through for those of the same store. */
const MAX_EARLIER = 1000;
/** Those of them that are told on: not all came to a result. */
const MAX_ENDS = 2 * MAX_SYNCS;

function sameStore(first: RecordDraft, ends: readonly RecordDraft[]): RecordDraft[] {
  const { provider, store } = first.session ?? {};
  return ends
    .filter(({ session, time }) => {
      return session?.provider === provider && session?.store === store && time < first.time;
    })
    .slice(0, MAX_ENDS);
}

/** The story of a session of the journal. @throws {CliError} exit 2 if there is no such session. */
export function storyOf(history: History, text: string): Story {
  const id = findInHistory(history, text);
  const { records, earlier, platform } = sessionHistory(history, id);
  const options: StoryOptions = {
    nowUs: Date.now() * 1000,
    stopped: history.stopped,
    earlier,
    ...(platform === undefined ? {} : { platform }),
  };
  return tellStory(records, options);
}
